#!/usr/bin/env bash
# Dockerfile を buildah で組み立て、できた像を動かして確かめる。Docker エンジンは要らない。
#   image.sh 作業場所
# 土台の像は手元で作り、Dockerfile が使う名前を付ける(バイナリの中身はこの機械の Debian と npm の bun)。
set -eu
work=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$work"
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
    tail -n 40 "$work/last.log"
  fi
}

if ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null; then
  [ "$(id -u)" -eq 0 ] || { echo "buildah and debootstrap are needed"; exit 1; }
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq buildah debootstrap >/dev/null
fi
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
export CONTAINERS_STORAGE_CONF="$work/storage.conf"
cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "vfs"
runroot = "$work/run"
graphroot = "$work/graph"
CONF

has_image() { buildah inspect --type image "$1" >/dev/null 2>&1; }
if ! has_image docker.io/oven/bun:1.4.5; then
  [ -d "$work/debian/usr" ] || debootstrap --variant=minbase --include=ca-certificates,git bookworm "$work/debian" >"$work/debootstrap.log" 2>&1
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/debian" / >/dev/null
  buildah copy -q --chmod 755 "$container" "$(npx --yes bun@1.4.5 -e 'console.log(process.execPath)')" /usr/local/bin/bun >/dev/null
  # 社内の認証局などを使う機械では、その証明書束を像の中でも使う。
  if [ -n "${SSL_CERT_FILE:-}" ] && [ -f "${SSL_CERT_FILE:-}" ]; then
    buildah copy -q "$container" "$SSL_CERT_FILE" /etc/ssl/certs/ca-certificates.crt >/dev/null
    buildah config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$container"
  fi
  buildah commit -q "$container" docker.io/oven/bun:1.4.5 >/dev/null
  buildah rm "$container" >/dev/null
fi
if ! has_image gcr.io/distroless/base-debian12:latest; then
  # glibc と証明書だけの木。distroless/base と同じ中身の範囲。
  base="$work/base"
  rm -rf "$base"
  mkdir -p "$base/debs" "$base/root/tmp" "$base/root/etc/ssl/certs"
  (cd "$base/debs" && apt-get download -qq libc6 libssl3 tzdata netbase base-files >/dev/null)
  for deb in "$base"/debs/*.deb; do dpkg-deb -x "$deb" "$base/root"; done
  cp /etc/ssl/certs/ca-certificates.crt "$base/root/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$base/root/etc/passwd"
  chmod 1777 "$base/root/tmp"
  container=$(buildah from scratch)
  buildah add -q "$container" "$base/root" / >/dev/null
  buildah commit -q "$container" gcr.io/distroless/base-debian12:latest >/dev/null
  buildah rm "$container" >/dev/null
fi

image=localhost/iris-serving:test
report "buildah builds the Dockerfile" buildah build --pull=never --network=host --layers -t "$image" "$root"
[ "$failed" -eq 0 ] || { echo "$passed passed, $failed failed"; exit 1; }

config() { buildah inspect --type image --format "$1" "$image"; }
expect() { [ "$(config "$1")" = "$2" ] || { echo "$1: $(config "$1") instead of $2"; return 1; }; }
report "user is 65532" expect '{{.OCIv1.Config.User}}' 65532:65532
report "stop signal is SIGTERM" expect '{{.OCIv1.Config.StopSignal}}' SIGTERM
report "ports 8500 and 8501 are exposed" expect '{{.OCIv1.Config.ExposedPorts}}' 'map[8500:{} 8501:{}]'

container=$(buildah from --pull=never "$image")
mount=$(buildah mount "$container")
size=$(du -sm "$mount" | cut -f1)
echo "     image content: $size MB"

# 像の木を読み取り専用で chroot し、与えた uid で像の ENTRYPOINT を動かす。
probe() { # probe uid gid ポート REST : 起動 → 健全 → 推論 → SIGTERM で 0
  local uid=$1 gid=$2 port=$3 rest=$4 pid status
  unshare --mount bash -eu -c '
    root=$1 uid=$2 gid=$3 port=$4 rest=$5
    mount --bind "$root" "$root"
    mount --rbind /proc "$root/proc" 2>/dev/null || { mkdir -p "$root/proc"; mount -t proc proc "$root/proc"; }
    mount -o remount,bind,ro "$root"
    exec env -i PATH=/usr/bin HOME=/ chroot --userspec="$uid:$gid" "$root" \
      /usr/bin/tf_serving_entrypoint.sh --port="$port" --rest_api_port="$rest"
  ' _ "$mount" "$uid" "$gid" "$port" "$rest" &
  pid=$!
  status=1
  for _ in $(seq 100); do
    if chroot --userspec="$uid:$gid" "$mount" /usr/bin/iris-serving health --server="127.0.0.1:$port"; then status=0; break; fi
    sleep 0.1
  done
  if [ "$status" -eq 0 ]; then
    curl -sS --fail "http://127.0.0.1:$rest/v1/models/iris:predict" -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' || status=1
    chroot --userspec="$uid:$gid" "$mount" /usr/bin/iris-serving predict --server="http://127.0.0.1:$rest" 5.1 3.5 1.4 0.2 || status=1
  fi
  kill -TERM "$pid"
  wait "$pid" || status=1
  return "$status"
}
mkdir -p "$mount/proc"
report "runs as uid 65532 with a read-only root and drains on SIGTERM" probe 65532 65532 18500 18501
report "runs as an arbitrary uid" probe 1000710000 0 18502 18503
report "tensorflow_model_server answers --version" chroot --userspec=65532:65532 "$mount" /usr/bin/tensorflow_model_server --version
buildah umount "$container" >/dev/null
buildah rm "$container" >/dev/null
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
