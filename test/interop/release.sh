#!/usr/bin/env bash
# `bun run release` の Linux の書庫を開き、動かして確かめる。
#   release.sh 書庫の場所 作業場所
# どれも: 書庫の和が合う、版を答える、二つの入口で推論する、SIGTERM で 0 で終わる。
# arm64 は qemu-user で、musl は Debian の musl と、musl 用の Python の包みに入った libstdc++ で動かす。
# 道具の無いものは「skip」と書いて飛ばす。最後の行は「N passed, N failed」。
set -u
dist=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
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

report "SHA256SUMS" sh -c "cd '$dist' && sha256sum --check --quiet SHA256SUMS"

# RELR の再配置を読める musl は 1.2.4 から。Debian 13 のものを、この機械には入れずに取り出す。
musl_root() { # musl_root x86_64|aarch64 amd64|arm64
  local arch=$1 debian=$2 tree="$work/musl-$1" state="$work/apt-$1" mirror
  [ -e "$tree/done" ] && return
  rm -rf "$tree" "$state"
  mkdir -p "$tree/lib" "$tree/usr/lib" "$state/lists/partial" "$state/cache/archives/partial"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Component: main' | head -n 1)
  [ -n "$mirror" ] || return 1
  echo "deb $mirror trixie main" >"$state/sources.list"
  local options="-qq -o APT::Architecture=$debian -o APT::Architectures=$debian -o Dir::State::lists=$state/lists -o Dir::Cache=$state/cache -o Dir::Etc::sourcelist=$state/sources.list -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086 # 旗の並び
  apt-get $options update && (cd "$state" && apt-get $options download musl) || return 1
  dpkg-deb --fsys-tarfile "$state"/musl_*.deb | tar -xO --wildcards '*/libc.so' >"$tree/lib/ld-musl-$arch.so.1"
  chmod +x "$tree/lib/ld-musl-$arch.so.1"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
    --platform "musllinux_1_2_$arch" --dest "$state" greenlet==3.2.4 || return 1
  python3 -c '
import sys, zipfile
for name in (wheel := zipfile.ZipFile(sys.argv[1])).namelist():
    if name.startswith("greenlet.libs/") and ".so" in name:
        open(sys.argv[2] + "/" + name.split("/")[1], "wb").write(wheel.read(name))
' "$state"/greenlet-*.whl "$tree/usr/lib"
  ln -sf "$(basename "$tree"/usr/lib/libstdc++-*)" "$tree/usr/lib/libstdc++.so.6"
  ln -sf "$(basename "$tree"/usr/lib/libgcc_s-*)" "$tree/usr/lib/libgcc_s.so.1"
  touch "$tree/done"
}

# 動かす形を runner に置く。実行ファイルは別の木の中の /iris-serving のこともある。
prepare() { # prepare 宛先 実行ファイル
  local name=$1 binary=$2 tree
  case "$name" in
    linux-x64 | linux-x64-baseline) runner=("$binary") ;;
    linux-arm64)
      [ -e /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 ] || { echo "skip $name: no libc6-arm64-cross"; return 1; }
      runner=(qemu-aarch64-static -L /usr/aarch64-linux-gnu "$binary")
      ;;
    linux-arm64-musl)
      musl_root aarch64 arm64 || { echo "skip $name: no musl"; return 1; }
      runner=(qemu-aarch64-static -L "$work/musl-aarch64" "$binary")
      ;;
    linux-x64-musl*)
      [ "$(id -u)" -eq 0 ] || { echo "skip $name: chroot needs root"; return 1; }
      musl_root x86_64 amd64 || { echo "skip $name: no musl"; return 1; }
      tree="$work/musl-x86_64"
      mkdir -p "$tree/proc" "$tree/dev"
      cp "$binary" "$tree/iris-serving"
      runner=(unshare --mount sh -c "mount --rbind /proc '$tree/proc' && mount --rbind /dev '$tree/dev' && exec chroot '$tree' /iris-serving \"\$@\"" sh)
      ;;
  esac
  case "$name" in
    *arm64*) command -v qemu-aarch64-static >/dev/null || { echo "skip $name: no qemu-user-static"; return 1; } ;;
  esac
}

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

answers_version() { "${runner[@]}" --version | grep '^TensorFlow ModelServer: iris-serving '; }

serves() {
  local grpc rest server status=1
  grpc=$(port)
  rest=$(port)
  "${runner[@]}" --port="$grpc" --rest_api_port="$rest" --log_level=warn &
  server=$!
  for _ in $(seq 300); do
    curl -sS --max-time 2 --fail "http://127.0.0.1:$rest/v1/models/iris" 2>/dev/null | grep -q AVAILABLE && status=0 && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  if [ "$status" -eq 0 ]; then
    curl -sS --fail "http://127.0.0.1:$rest/v1/models/iris:predict" -d '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' || status=1
    "${runner[@]}" predict --server="http://127.0.0.1:$rest" 5.1 3.5 1.4 0.2 | grep '^label: setosa$' || status=1
    "${runner[@]}" predict --grpc --server="127.0.0.1:$grpc" 6.7 3.0 5.2 2.3 | grep '^label: virginica$' || status=1
  fi
  kill -TERM "$server" 2>/dev/null
  wait "$server" || { echo "exit code $? on SIGTERM"; status=1; }
  return "$status"
}

for archive in "$dist"/iris-serving-*-linux-*.tar.gz; do
  stem=$(basename "$archive" .tar.gz)
  name=linux-${stem#*-linux-}
  rm -rf "${work:?}/$stem"
  tar -xzf "$archive" -C "$work"
  prepare "$name" "$work/$stem/iris-serving" || continue
  report "$name: answers --version" answers_version
  report "$name: serves by REST and gRPC and drains" serves
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
