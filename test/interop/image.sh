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
# 倉庫 vfs は層ごとに木を丸ごと写すので、途中の層は残さない方が速い。
report "buildah builds the Dockerfile" buildah build --pull=never --network=host --layers=false --format docker \
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

# 像の木を読み取り専用の根にして、与えた uid で動かす。/dev と /proc だけは容器と同じように見せる。
models="$work/models"
mkdir -p "$models"
chroot=$(command -v chroot)
launch() { # launch uid:gid "環境" コマンド… : 呼んだ(部分)シェルがそのまま置き換わる
  exec unshare --mount bash -eu -c '
    tree=$1 models=$2 chroot=$3 user=$4 settings=$5
    shift 5
    mount --bind "$tree" "$tree"
    mount --bind "$models" "$tree/models"
    mount --rbind /dev "$tree/dev"
    mount --rbind /proc "$tree/proc"
    mount -o remount,bind,ro "$tree"
    # shellcheck disable=SC2086 # 名前=値 の並び
    exec env -i PATH=/usr/bin $settings "$chroot" --userspec="$user" "$tree" "$@"
  ' _ "$tree" "$models" "$chroot" "$@"
}
# 起動して推論し、SIGTERM を送って 0 で終わるのを待つ。どの待ちにも限りがある。
serves() { # serves uid:gid "環境" モデル [旗…]
  local user=$1 settings=$2 model=$3 outer status=1
  shift 3
  launch "$user" "$settings" /usr/bin/tf_serving_entrypoint.sh "$@" --port=28500 --rest_api_port=28501 &
  outer=$!
  for _ in $(seq 100); do
    curl -sS --max-time 2 --fail "http://127.0.0.1:28501/v1/models/$model" 2>/dev/null | grep -q AVAILABLE && status=0 && break
    kill -0 "$outer" 2>/dev/null || break
    sleep 0.1
  done
  if [ "$status" -eq 0 ]; then
    (launch "$user" "PORT=28500" /usr/bin/iris-serving health) || status=1
    (launch "$user" "" /usr/bin/iris-serving predict --server=http://127.0.0.1:28501 --model="$model" 5.1 3.5 1.4 0.2) | grep -q '^label: setosa$' || status=1
    grep -q "^Uid:[[:space:]]*${user%:*}[[:space:]]" "/proc/$outer/status" || { echo "runs as another uid"; status=1; }
  fi
  kill -TERM "$outer" 2>/dev/null
  for _ in $(seq 100); do kill -0 "$outer" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$outer" 2>/dev/null
  wait "$outer" || { echo "exit code $? on SIGTERM"; status=1; }
  return "$status"
}
version() { (launch 65532:65532 "" "$1" --version) | grep '^TensorFlow ModelServer: '; }
report "tensorflow_model_server answers --version" version /usr/bin/tensorflow_model_server
report "tf_serving_entrypoint.sh answers --version" version /usr/bin/tf_serving_entrypoint.sh
report "no shell in the image" test ! -e "$tree/bin/sh"
rm -rf "$models/mine"
"$tree/usr/bin/iris-serving" export "$models/mine" >/dev/null
chmod -R a+rX "$models"
report "serves iris as uid 65532 with a read-only root and drains on SIGTERM" serves 65532:65532 "" iris
report "runs as an arbitrary uid" serves 1000710000:0 "" iris
report "serves MODEL_BASE_PATH/MODEL_NAME like TensorFlow Serving's image" serves 65532:65532 "MODEL_NAME=mine" mine
for user in 65532:65532 1000710000:0; do
  report "the migration page's steps as they stand, image run as $user" bash "$root/test/interop/typed_pages.sh" image "$tree" "$work/typed" "$user"
done
report "flags after the image name win" serves 65532:65532 "MODEL_NAME=absent" mine --model_name=mine --model_base_path=/models/mine
finish
