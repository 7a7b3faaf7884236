# shellcheck shell=bash
# need PACKAGE...: makes sure that Debian packages are there; installs what is missing with apt
# where that is allowed, else says what to do.
need() {
  command -v dpkg-query >/dev/null || { echo "This is not Debian: make sure that you have what these packages bring: $*" >&2; return 0; }
  local missing=() p
  for p; do [ "$(dpkg-query -Wf '${db:Status-Abbrev}' "$p" 2>/dev/null)" = 'ii ' ] || missing+=("$p"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then sudo=(sudo -n); else
      echo "Packages are missing. As root: apt-get install ${missing[*]}" >&2
      return 1
    fi
  fi
  echo "Installing ${missing[*]}"
  local log; log=$(mktemp)
  if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "apt-get could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
}
