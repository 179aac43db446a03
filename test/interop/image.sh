#!/usr/bin/env bash
# Dockerfile を buildah で組み立て、できた像を動かして確かめる。Docker エンジンは要らない。
#   image.sh 作業場所
# 土台の像は Debian のパッケージと npm の bun から手元で作り、Dockerfile が使う名前を付ける。
# 像は専用の名前空間(網、プロセス番号、マウント)で動かすので、この機械のポートを使わない。
set -eu
mkdir -p "$1"
work=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
passed=0
failed=0
report() { # report 名前 コマンド…
  local what=$1
  shift
  if "$@" >"$work/last.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok   $what"
  else
    failed=$((failed + 1))
    echo "FAIL $what"
    tail -n 60 "$work/last.log"
  fi
}
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

[ "$(id -u)" -eq 0 ] || { echo "chroot isolation needs root"; exit 1; }
needed=
for tool in buildah debootstrap curl unshare:util-linux nsenter:util-linux ip:iproute2; do
  command -v "${tool%:*}" >/dev/null || needed="$needed ${tool#*:}"
done
if [ -n "$needed" ]; then
  apt-get update -qq
  # shellcheck disable=SC2086 # パッケージ名の並び
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $needed >"$work/apt.log" 2>&1 ||
    { tail -n 20 "$work/apt.log"; exit 1; }
fi

# 像の倉庫は作業場所の中に閉じる。署名の方針も、取り寄せ先も、この機械の設定によらない。
cat >"$work/storage.conf" <<CONF
[storage]
driver = "vfs"
runroot = "$work/run"
graphroot = "$work/graph"
CONF
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs CONTAINERS_STORAGE_CONF="$work/storage.conf"

has_image() { buildah inspect --type image "$1" >/dev/null 2>&1; }
commit() { buildah commit -q --rm --signature-policy "$work/policy.json" "$1" "$2" >/dev/null; }

bun_image=docker.io/oven/bun:1.4.5
base_image=gcr.io/distroless/base-debian12:latest
if ! has_image "$bun_image" || ! has_image "$base_image"; then
  debian="$work/debian"
  if [ ! -e "$debian.done" ]; then
    rm -rf "$debian"
    echo "     making a Debian tree"
    # 署名を確かめるために、debootstrap の用いる鍵束は Debian の機械に必ずある。
    debootstrap --variant=minbase --include=ca-certificates,libssl3,netbase bookworm "$debian" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 20 "$work/debootstrap.log"; exit 1; }
    touch "$debian.done"
  fi

  # glibc、OpenSSL、時間帯、証明書だけの木。distroless/base と同じ範囲で、シェルは無い。
  base="$work/base"
  rm -rf "$base"
  mkdir -p "$base"
  for package in base-files libc6 libgcc-s1 libssl3 netbase tzdata; do
    for deb in "$debian/var/cache/apt/archives/${package}"_*.deb; do dpkg-deb -x "$deb" "$base"; done
  done
  mkdir -p "$base"/etc/ssl/certs "$base"/dev "$base"/proc "$base"/sys "$base"/tmp "$base"/home/nonroot
  cp "$debian/etc/ssl/certs/ca-certificates.crt" "$base/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$base/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$base/etc/group"
  chmod 1777 "$base/tmp"
  chown 65532:65532 "$base/home/nonroot"
  container=$(buildah from scratch)
  buildah add -q "$container" "$base" / >/dev/null
  buildah config --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$container"
  commit "$container" "$base_image"

  container=$(buildah from scratch)
  rm -rf "$debian"/var/cache/apt/archives/*.deb "$debian.done"
  buildah add -q "$container" "$debian" / >/dev/null
  executable=$(npx --yes bun@1.4.5 -e 'console.log(require("node:fs").realpathSync(process.execPath))')
  buildah copy -q --chmod 755 "$container" "$executable" /usr/local/bin/bun >/dev/null
  # 自前の認証局を使う機械では、その証明書束を組み立ての像の中でも使う。
  if [ -f "${NODE_EXTRA_CA_CERTS:-}" ]; then
    buildah copy -q "$container" "$NODE_EXTRA_CA_CERTS" /etc/ssl/certs/ca-certificates.crt >/dev/null
    buildah config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$container"
  fi
  commit "$container" "$bun_image"
  rm -rf "$debian" "$base"
fi

image=localhost/iris-serving:test
revision=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# HEALTHCHECK は Docker の形式にしか無い。
report "buildah builds the Dockerfile" buildah build --pull=never --network=host --layers --format docker \
  --signature-policy "$work/policy.json" --build-arg "COMMIT=$revision" -t "$image" "$root"
[ "$failed" -eq 0 ] || finish

expect() { # expect 書式 値
  local actual
  actual=$(buildah inspect --type image --format "$1" "$image")
  [ "$actual" = "$2" ] || { echo "$1 is $actual instead of $2"; return 1; }
}
report "user is 65532" expect '{{.Docker.Config.User}}' 65532:65532
report "stop signal is SIGTERM" expect '{{.Docker.Config.StopSignal}}' SIGTERM
report "ports 8500 and 8501 are exposed" expect '{{.Docker.Config.ExposedPorts}}' 'map[8500/tcp:{} 8501/tcp:{}]'
report "the health check is the binary itself" expect '{{.Docker.Config.Healthcheck.Test}}' '[CMD /usr/bin/iris-serving health]'
report "the entry point has TensorFlow Serving's name" expect '{{.Docker.Config.Entrypoint}}' '[/usr/bin/tf_serving_entrypoint.sh]'

container=$(buildah from --pull=never --signature-policy "$work/policy.json" "$image")
tree=$(buildah mount "$container")
mkdir -p "$tree/models"
# 前の回が途中で終わっていても、名前空間ごと消えているので片付けるのは容器だけでよい。
trap 'buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null' EXIT
echo "     image content: $(du -sm --apparent-size "$tree" | cut -f1) MB, of which the binary $(du -m --apparent-size "$tree/usr/bin/iris-serving" | cut -f1) MB"

once() { chroot --userspec=65532:65532 "$tree" "$@"; }
version() { once "$1" --version | grep -q '^TensorFlow ModelServer: '; }
report "tensorflow_model_server answers --version" version /usr/bin/tensorflow_model_server
report "tf_serving_entrypoint.sh answers --version" version /usr/bin/tf_serving_entrypoint.sh
report "no shell in the image" test ! -e "$tree/bin/sh"
models="$work/models"
mkdir -p "$models"
"$tree/usr/bin/iris-serving" export "$models/mine" >/dev/null
chmod -R a+rX "$models"

# 像を読み取り専用の根、PID 1、容器と同じ名前空間で動かし、body の検査のあと SIGTERM で 0 を待つ。
inside() { # inside uid:gid "環境" 検査 [引数…]
  local user=$1 settings=$2 body=$3 outer pid status=0
  shift 3
  unshare --mount --pid --net --fork --kill-child bash -eu -c '
    tree=$1 models=$2 user=$3 settings=$4
    shift 4
    ip link set lo up
    mount --bind "$tree" "$tree"
    mount --bind "$models" "$tree/models"
    mount -t proc proc "$tree/proc"
    mount -o remount,bind,ro "$tree"
    # shellcheck disable=SC2086 # 名前=値 の並び
    exec env -i PATH=/usr/bin $settings chroot --userspec="$user" "$tree" /usr/bin/tf_serving_entrypoint.sh "$@"
  ' _ "$tree" "$models" "$user" "$settings" "$@" &
  outer=$!
  for _ in $(seq 200); do
    pid=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null | tr -d ' ')
    if [ -n "$pid" ] && enter "$pid" "$user" /usr/bin/iris-serving health; then break; fi
    kill -0 "$outer" 2>/dev/null || { echo "the server ended"; return 1; }
    sleep 0.1
  done
  "$body" "$pid" "$user" || status=1
  kill -TERM "$pid"
  wait "$outer" || { echo "exit code $? on SIGTERM"; status=1; }
  return "$status"
}
enter() { # enter pid uid:gid コマンド… : 動いている像の中で動かす
  local pid=$1 user=$2
  shift 2
  nsenter --target "$pid" --mount --pid --net --root --wd -S "${user%:*}" -G "${user#*:}" -- "$@"
}
outside() { # outside pid コマンド… : 網だけを像と共にする
  nsenter --target "$1" --net -- "${@:2}"
}

iris() {
  local pid=$1 user=$2
  grep -q "^Uid:[[:space:]]*${user%:*}[[:space:]]" "/proc/$pid/status"
  grep -q '^NSpid:.*[[:space:]]1$' "/proc/$pid/status"
  outside "$pid" curl -sS --fail http://localhost:8501/v1/models/iris:predict -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' | grep -q '"predictions"'
  enter "$pid" "$user" /usr/bin/iris-serving predict 5.1 3.5 1.4 0.2 | grep -q '^label: setosa$'
  enter "$pid" "$user" /usr/bin/iris-serving predict --grpc 6.7 3.0 5.2 2.3 | grep -q '^label: virginica$'
  ! enter "$pid" "$user" /usr/bin/iris-serving export /elsewhere
}
mine() {
  outside "$1" curl -sS --fail http://localhost:8501/v1/models/mine | grep -q '"AVAILABLE"'
  enter "$1" "$2" /usr/bin/iris-serving predict --model=mine 5.1 3.5 1.4 0.2 | grep -q '^label: setosa$'
}
report "serves iris as uid 65532 with a read-only root, drains on SIGTERM as PID 1" inside 65532:65532 "" iris
report "runs as an arbitrary uid" inside 1000710000:0 "" iris
report "serves MODEL_BASE_PATH/MODEL_NAME like TensorFlow Serving's image" inside 65532:65532 "MODEL_NAME=mine" mine
report "flags after the image name win" inside 65532:65532 "MODEL_NAME=absent" mine --model_name=mine --model_base_path=/models/mine
finish
