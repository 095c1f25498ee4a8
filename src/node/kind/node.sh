# Runs on the node: reads requests from standard input, answers on standard output.
# A request is NUL-terminated words: the number of words of the command, these words, the number of
# bytes of its standard input; then these bytes. An answer is a line with the exit code and the sizes
# of standard output and standard error, then both.
export LC_ALL=C
umask 022
d=$(mktemp -d /tmp/.ckslab.XXXXXX 2>/dev/null || mktemp -d /run/.ckslab.XXXXXX) || exit 1
trap 'rm -rf "$d"' EXIT

# What is at a path below the root of a process, its links resolved as the process sees them.
inside() {
  local root=$1 rest=$2 at= part link count=0
  while [ -n "$rest" ]; do
    case $rest in
      /*) rest=${rest#/}; continue ;;
    esac
    part=${rest%%/*}
    case $rest in
      */*) rest=${rest#*/} ;;
      *) rest= ;;
    esac
    case $part in
      .) continue ;;
      ..) at=${at%/*}; continue ;;
    esac
    if [ -L "$root$at/$part" ]; then
      count=$((count + 1))
      [ $count -gt 40 ] && return 40
      link=$(readlink -- "$root$at/$part")
      case $link in
        /*) at= ;;
      esac
      rest=$link/$rest
    else
      at=$at/$part
    fi
  done
  REPLY=$root$at
}

# read ROOT OFFSET LIMIT PATH
n_read() {
  local path=$4 kind
  if [ -n "$1" ]; then
    [ -d "$1/." ] || { echo gone; return; }
    inside "$1" "$4" || { echo loop; return; }
    path=$REPLY
  fi
  if [ ! -e "$path" ]; then
    if [ -L "$path" ]; then
      stat -L -- "$path" 2>&1 >/dev/null | grep -q 'Too many levels' && { echo loop; return; }
      printf 'link\n'; readlink -- "$path" | tr -d '\n'
    else
      # Nothing there, or nothing that may be seen: the difference is in the text.
      stat -- "$path" >/dev/null 2>"$d/why" && return
      grep -q 'Permission denied' "$d/why" && { cat "$d/why" >&2; return 1; }
      echo missing
    fi
    return
  fi
  stat -L -c '%F|%a|%s|%d:%i' -- "$path" || return
  if [ -f "$path" ] && [ "$2" -lt "$(stat -L -c %s -- "$path")" ]; then
    tail -c +$(($2 + 1)) -- "$path" | head -c "$3"
  fi
}

# stat FOLLOW PATH
n_stat() {
  if [ "$1" = 1 ]; then
    stat -L -c '%F|%a' -- "$2"
  else
    stat -c '%F|%a' -- "$2" || return
    [ -L "$2" ] && readlink -- "$2" | tr -d '\n'
    return 0
  fi
}

# write MODE PATH: the content is standard input
n_write() {
  local path=$2 old dir
  mkdir -p -- "$(dirname -- "$path")" || return
  if [ -L "$path" ]; then path=$(readlink -m -- "$path") || return; fi
  if [ -d "$path" ]; then echo "$path: Is a directory" >&2; return 1; fi
  n_put "$1" "$path"
}

# put MODE PATH: as write, where the directory is there
n_put() {
  local path=$2 dir new
  if [ -L "$path" ] && [ -e "$path" ]; then path=$(readlink -f -- "$path") || return; fi
  if [ -d "$path" ]; then echo "$path: Is a directory" >&2; return 1; fi
  dir=$(dirname -- "$path")
  new=$(mktemp -- "$dir/.ckslab.XXXXXXXX") || return
  if cat >"$new" && chmod -- "$1" "$new" && { [ ! -e "$path" ] || chown --reference="$path" -- "$new"; } && mv -fT -- "$new" "$path"; then
    return 0
  fi
  rm -f -- "$new"
  return 1
}

# A file that comes in pieces: begin PATH gives the name of a hidden one beside it, piece NAME adds standard
# input to that, end MODE NAME PATH puts it in the place of the file.
n_put_begin() {
  local path=$1
  if [ -L "$path" ] && [ -e "$path" ]; then path=$(readlink -f -- "$path") || return; fi
  if [ -d "$path" ]; then echo "$path: Is a directory" >&2; return 1; fi
  mktemp -- "$(dirname -- "$path")/.ckslab.XXXXXXXX"
}
n_put_piece() { cat >>"$1"; }
n_put_end() {
  local path=$3
  if [ -L "$path" ] && [ -e "$path" ]; then path=$(readlink -f -- "$path") || return; fi
  chmod -- "$1" "$2" && { [ ! -e "$path" ] || chown --reference="$path" -- "$2"; } && mv -fT -- "$2" "$path"
}

# append MODE PATH
n_append() {
  local fresh=0
  mkdir -p -- "$(dirname -- "$2")" || return
  [ -e "$2" ] || fresh=1
  cat >>"$2" || return
  [ $fresh = 0 ] || chmod -- "$1" "$2"
}

n_mkdir() { mkdir -p -- "$2" && chmod -- "$1" "$2"; }
n_remove() { rm -rf -- "$1"; }
n_mode() { chmod -- "$1" "$2"; }
n_rename() { mv -fT -- "$1" "$2"; }
n_link() { mkdir -p -- "$(dirname -- "$2")" && ln -sT -- "$1" "$2"; }
n_list() { [ -d "$1" ] || { stat -- "$1/." >/dev/null; return 1; }; find "$1/" -mindepth 1 -maxdepth 1 -printf '%f\0'; }
# journal LINES SINCE: seconds since 1970, empty for all
n_journal() { journalctl -u kubelet --no-pager -q ${2:+--since=@$2} -n "$1"; }
n_now() { date +%s.%6N; }

# run SECONDS COMMAND...
n_run() {
  local limit=$1
  shift
  timeout -k 2 "$limit" "$@"
}

part() { # NAME FILE
  [ -f "$2" ] || : >"$2"
  printf '%s %s\n' "$1" "$(stat -c %s "$2")"
  cat "$2"
  printf '\n'
}

# How the API server is: everything in one answer.
# look PORT SINCE
n_look() {
  local port=$1 since=$2 p comm m=/etc/kubernetes/manifests
  {
    printf 'now %s\n' "$(date +%s.%N)"
    printf 'kubelet %s\n' "$(systemctl is-active kubelet 2>/dev/null)"
    printf 'directory %s\n' "$(stat -c %Y -- $m 2>/dev/null)"
    for p in /proc/[0-9]*; do
      comm=
      read -r comm <"$p/comm"
      [ "$comm" = kube-apiserver ] || continue
      printf 'process %s %s %s %s\n' "${p#/proc/}" "$(sed 's/.*) //' "$p/stat" 2>/dev/null | cut -d' ' -f20)" \
        "$(base64 -w0 "$p/cmdline" 2>/dev/null)" "$(base64 -w0 "$p/cgroup" 2>/dev/null)"
    done
    for p in $m/*; do
      [ -f "$p" ] && printf 'manifest %s %s %s\n' "$(stat -L -c %.9Z -- "$p")" "$(printf %s "${p##*/}" | base64 -w0)" "$(head -c 1048577 -- "$p" | base64 -w0)"
    done
  } >"$d/facts" 2>/dev/null
  crictl pods -o json >"$d/pods" 2>/dev/null
  crictl ps -a -o json >"$d/containers" 2>/dev/null
  journalctl -u kubelet --no-pager -q ${since:+--since=@$since} -n 1500 -o short-unix 2>/dev/null | grep -a 'apiserver\|manifest\|file.go' | tail -n 40 >"$d/journal"
  curl -ks -o "$d/body" -w '%{http_code}' --max-time 3 "https://127.0.0.1:$port/readyz" >"$d/ready" 2>/dev/null
  for p in facts pods containers journal ready; do part "$p" "$d/$p"; done
}

# What the runtime says of one container, and the end of its log.
n_inspect() {
  local log
  crictl inspect -o json "$1" >"$d/inspect" 2>/dev/null
  : >"$d/log"
  log=$(sed -n 's/^ *"logPath": "\(.*\)",*$/\1/p' "$d/inspect" | head -n 1)
  [ -n "$log" ] && tail -c 65536 -- "$log" 2>/dev/null | tail -n 60 >"$d/log"
  part inspect "$d/inspect"
  part log "$d/log"
}

# The names of what may be made on a node, without what the node itself keeps making.
n_tree() {
  {
    find / -mindepth 1 -maxdepth 1 -print0
    find /etc /opt /srv /root /home /mnt /media /usr/local /var -xdev \( -path /var/lib/containerd -o -path /var/lib/kubelet \
      -o -path /var/lib/etcd -o -path /var/lib/systemd -o -path /var/lib/cni -o -path /var/lib/dpkg -o -path /var/cache \
      -o -path /var/log/pods -o -path /var/log/containers -o -path /var/log/journal -o -path /var/lib/private \) -prune -o -print0
  } 2>/dev/null | sort -zu
}

keep=/kind/ckslab
# Keeps the node as it is now.
n_snapshot() { alone snapshot; }
snapshot() {
  rm -rf $keep && mkdir -p -m 0700 $keep || return
  local names=() name
  for name in etc root var/lib/kubelet/config.yaml var/lib/kubelet/instance-config.yaml var/lib/kubelet/kubeadm-flags.env; do
    [ -e "/$name" ] && names+=("$name")
  done
  tar -C / --one-file-system --ignore-failed-read --exclude=etc/hosts --exclude=etc/hostname --exclude=etc/resolv.conf \
    --exclude=etc/mtab -cpf $keep/pristine.tar "${names[@]}" 2>"$d/tar" || { cat "$d/tar" >&2; return 1; }
  n_tree >$keep/tree
}

# Whether the receiver of a directory runs: its process id is that of our program, and of no other.
sink_runs() {
  local pid=
  read -r pid 2>/dev/null <"$1/pid" || return
  case $(readlink "/proc/$pid/exe" 2>/dev/null) in
    "$keep/bin/ckslab"*) REPLY=$pid ;;
    *) return 1 ;;
  esac
}

# Starts the receivers that do not run.
n_sinks_start() {
  local dir i
  for dir in $keep/sinks/*; do
    [ -f "$dir/settings.json" ] || continue
    sink_runs "$dir" && continue
    rm -f "$dir/status" "$dir/pid"
    $keep/bin/ckslab sink-process "$dir" </dev/null >"$dir/log" 2>&1 &
    for ((i = 0; i < 200; i++)); do
      [ -s "$dir/status" ] && break
      kill -0 $! 2>/dev/null || break
      sleep 0.05
    done
    grep -qsx ready "$dir/status" && continue
    cat "$dir/status" "$dir/log" 2>/dev/null >&2
    return 1
  done
}

# Ends the receivers; with a port only the one of that.
n_sinks_stop() {
  local dir i
  for dir in $keep/sinks/${1:-*}; do
    sink_runs "$dir" || continue
    kill "$REPLY"
    for ((i = 0; i < 60; i++)); do
      sink_runs "$dir" || break
      [ $i = 40 ] && kill -9 "$REPLY"
      sleep 0.05
    done
  done
  return 0
}

# Runs a function alone: what an interrupted command left running on the node is waited for.
alone() {
  (
    flock -w 100 8 || { echo 'an earlier command still works on the node' >&2; exit 1; }
    "$@"
  ) 8>/kind/.ckslab.lock
}

# Puts the files back that were there, except those that only the API server of the lab must let go of
# first. Says `changed` where the API server is made anew for it, `keys` where it has to be.
n_restore() { alone restore; }
restore() {
  [ -f $keep/pristine.tar ] || { echo 'its pristine state is not kept' >&2; return 1; }
  n_sinks_stop && rm -rf $keep/sinks
  local m=etc/kubernetes/manifests name again=0
  tar -C / -df $keep/pristine.tar --quoting-style=literal 2>&1 |
    sed -n -e 's/^tar: \(.*\): Warning: Cannot stat: .*$/\1/p' \
      -e 's/^\(.*\): \(Contents differ\|Mode differs\|Uid differs\|Gid differs\|Size differs\|Symlink differs\|File type differs\)$/\1/p' |
    sort -u >"$d/changed"
  mkdir -p -m 0755 /$m
  while IFS= read -r -d '' name; do
    tar -tf $keep/pristine.tar -- "$m/$name" >/dev/null 2>&1 || { rm -rf -- "/$m/$name"; again=1; }
  done < <(find /$m -mindepth 1 -maxdepth 1 -printf '%f\0')
  grep -q '^etc/kubernetes/pki' "$d/changed" && again=1 && echo keys
  while IFS= read -r name; do
    case $name in
      $m/?*) ;;
      *) [ -d "/$name" ] && [ ! -L "/$name" ] || rm -rf -- "/$name"
        tar -C / --no-recursion -xpf $keep/pristine.tar -- "${name%/}" 2>/dev/null || tar -C / --no-recursion -xpf $keep/pristine.tar -- "${name%/}/" ;;
    esac
  done <"$d/changed"
  while IFS= read -r name; do
    case $name in
      $m/?*)
        again=1
        rm -rf "$d/new" && mkdir "$d/new" && tar -C "$d/new" -xpf $keep/pristine.tar -- "$name" || return
        # Of another file system: a hidden copy beside it, then a rename.
        rm -rf -- "/$m/.ckslab.new"
        cp -p -- "$d/new/$name" "/$m/.ckslab.new" && { [ ! -d "/$name" ] || rm -rf -- "/$name"; } && mv -fT -- "/$m/.ckslab.new" "/$name" || return ;;
    esac
  done <"$d/changed"
  # What the kubelet reads when it starts.
  if grep -q '^var/lib/kubelet/\|^etc/systemd/\|^etc/default/kubelet$\|^etc/kubernetes/kubelet.conf$' "$d/changed" ||
    [ "$(systemctl is-active kubelet)" != active ]; then
    systemctl daemon-reload
    systemctl restart kubelet || return
    again=1
  fi
  [ $again = 0 ] || echo changed
}

# Removes what was not there at the start.
n_sweep() { alone sweep; }
sweep() {
  n_tree >"$d/now"
  comm -z -13 $keep/tree "$d/now" | xargs -0 -r rm -rf --
}

# The answer where there is no room for one.
full() {
  local why="$d: No space left on device"
  printf '1 0 %s\n%s' ${#why} "$why"
}

while IFS= read -r -d '' n; do
  words=()
  while [ ${#words[@]} -lt "$n" ] && IFS= read -r -d '' word; do words+=("$word"); done
  IFS= read -r -d '' size || break
  if [ "$size" = 0 ]; then
    : >"$d/in"
  elif ! head -c "$size" | { cat >"$d/in" 2>/dev/null || { cat >/dev/null; false; }; }; then
    # All of it was read: the next request begins where it should.
    full
    continue
  fi
  "${words[@]}" <"$d/in" >"$d/out" 2>"$d/err"
  code=$?
  if [ $code != 0 ] && [ ! -s "$d/err" ] && ! { printf x >"$d/in"; } 2>/dev/null; then
    full
    continue
  fi
  printf '%s %s %s\n' $code "$(stat -c %s "$d/out")" "$(stat -c %s "$d/err")"
  cat "$d/out" "$d/err"
done
