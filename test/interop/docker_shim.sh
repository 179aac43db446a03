#!/usr/bin/env bash
# 頁に書かれた `docker` の代わり。像の木を、読み取り専用の根と与えた uid で動かす。容器のエンジンは要らない。
#   環境: SHIM_TREE 像の木、SHIM_STATE 名前 → プロセスを置く場所、SHIM_USER 像の既定の uid:gid
# 分かる命令は run(-d --rm --name --read-only -p -v -e --user)、stop、rm だけで、知らない旗は失敗にする。
set -eu
command=$1
shift
case "$command" in
  run)
    name="" detach="" user=$SHIM_USER settings="PATH=/usr/bin"
    volumes=()
    while [ "${1#-}" != "$1" ]; do
      case "$1" in
        -d) detach=1 ;;
        --rm | --read-only) ;;
        --name) name=$2; shift ;;
        --user) user=$2; shift ;;
        -p) [ "${2%:*}" = "${2#*:}" ] || { echo "the shim maps a port only to itself" >&2; exit 125; }; shift ;;
        -v) volumes+=("$2"); shift ;;
        -e) settings="$settings $2"; shift ;;
        *) echo "the shim does not know $1" >&2; exit 125 ;;
      esac
      shift
    done
    [ "$1" = iris-serving ] || { echo "no image $1" >&2; exit 125; }
    shift
    for volume in "${volumes[@]}"; do
      mkdir -p "$SHIM_TREE${volume#*:}"
      [ -d "${volume%%:*}" ] || { echo "${volume%%:*} is not a directory" >&2; exit 125; }
    done
    start() {
      exec unshare --mount bash -eu -c '
        tree=$1 user=$2 settings=$3 chroot=$4 count=$5
        shift 5
        mount --bind "$tree" "$tree"
        for ((; count > 0; count--)); do
          mount --bind "${1%%:*}" "$tree${1#*:}"
          shift
        done
        mount --rbind /dev "$tree/dev"
        mount --rbind /proc "$tree/proc"
        mount -o remount,bind,ro "$tree"
        # shellcheck disable=SC2086 # 名前=値 の並び
        exec env -i $settings "$chroot" --userspec="$user" "$tree" /usr/bin/tf_serving_entrypoint.sh "$@"
      ' _ "$SHIM_TREE" "$user" "$settings" "$(command -v chroot)" "${#volumes[@]}" "${volumes[@]}" "$@"
    }
    if [ -z "$detach" ]; then start "$@"; fi
    start "$@" >"$SHIM_STATE/$name.log" 2>&1 &
    echo $! >"$SHIM_STATE/$name"
    echo "$name"
    ;;
  stop)
    pid=$(cat "$SHIM_STATE/$1")
    kill -TERM "$pid"
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || { echo "$1 did not stop" >&2; exit 1; }
    grep -q '"msg":"stopped"\|stopped' "$SHIM_STATE/$1.log" || { cat "$SHIM_STATE/$1.log" >&2; exit 1; }
    echo "$1"
    ;;
  rm) rm "$SHIM_STATE/$1" "$SHIM_STATE/$1.log"; echo "$1" ;;
  *) echo "the shim does not know $command" >&2; exit 125 ;;
esac
