#!/usr/bin/env bash
# 移行と運用の頁の囲みを、書かれたとおりに打ち、続く囲みの行が返ることを確かめる。
#   typed_pages.sh image 像の木 作業場所 uid:gid     <!-- typed: image --> の囲み。docker は docker_shim.sh が務める
#   typed_pages.sh binary 実行ファイル 作業場所       <!-- typed: binary --> の囲み
# 専用の網で動かすので、頁の番号(8500、8501)がこの機械のものとぶつからない。root が要る。
set -eu
kind=$1 subject=$(readlink -f "$2")
mkdir -p "$3"
work=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
docs=$here/../../docs
pages="migrating-from-tensorflow-serving operations"
if [ -z "${TYPED_PAGES_NET:-}" ]; then
  # プロセス番号の空間も分ける。途中で失敗しても、動かしたものはすべて消える。
  export TYPED_PAGES_NET=1
  exec unshare --net --pid --fork --mount-proc --kill-child bash "$0" "$@"
fi
ip link set lo up
rm -rf "$work/typed" "$work/path" "$work/state"
mkdir -p "$work/path" "$work/state"
if [ "$kind" = image ]; then
  cp "$here/docker_shim.sh" "$work/path/docker"
  chmod +x "$work/path/docker"
  export SHIM_TREE=$subject SHIM_STATE=$work/state SHIM_USER=$4
else
  ln -s "$subject" "$work/path/iris-serving"
fi
export PATH=$work/path:$PATH
umask 022
typed=0
for page in $pages; do
  out=$work/typed/$page
  mkdir -p "$out"
  # 種類の合う囲みを順に取り出す: N.sh と、次の text の囲み N.expected。
  awk -v kind="$kind" -v out="$out" '
    $0 == "<!-- typed: " kind " -->" { n++; want = "sh" }
    /^```/ {
      if (file != "") { close(file); file = ""; next }
      if (want == "sh" && $0 == "```sh") { file = sprintf("%s/%02d.sh", out, n); want = "text"; next }
      if (want == "text" && $0 == "```text") { file = sprintf("%s/%02d.expected", out, n); want = ""; next }
      file = "/dev/null"; next
    }
    file != "" { print > file }
  ' "$docs/$page.md"
  cd "$out"
  set -- [0-9]*.sh
  # 頁によっては、この種類の囲みが無い。
  [ -e "$1" ] || continue
  # 囲みの間で動き続けるサーバーのため、1 つの頁の囲みは 1 つのシェルに続けて打つ。
  # -m: 頁の kill %1 と wait %1 のため。wait の終了コードは、SIGTERM で 0 で終わったことの確かめでもある。
  # shellcheck disable=SC2016 # 中のシェルが開く
  bash -e -m -o pipefail -c 'for script; do echo "$script" >last; . "./$script" >"$script.out" 2>"$script.err"; done' _ "$@" || {
    status=$?
    script=$(cat last)
    cat "$script.out" "$script.err"
    echo "$page: $script exited with $status"
    exit 1
  }
  for script; do
    echo "# $page $script"
    typed=$((typed + 1))
    [ -e "${script%.sh}.expected" ] || continue
    while IFS= read -r line; do
      grep -qF -- "$line" "$script.out" || { cat "$script.out" "$script.err"; echo "$page: $script did not print: $line"; exit 1; }
    done <"${script%.sh}.expected"
  done
done
[ "$typed" -gt 0 ] || { echo "the pages have no steps for $kind"; exit 1; }
echo "$typed passed, 0 failed"
