# shellcheck shell=bash
# need PACKAGE...: installs missing Debian packages by apt; without the right to do so, or without
# Debian, prints which are needed.
need() {
  command -v dpkg-query >/dev/null || {
    echo "This is not Debian: the contents of these packages are needed: $*" >&2
    return 0
  }
  local missing=() p
  for p; do
    [ "$(dpkg-query -Wf '${db:Status-Abbrev}' "$p" 2>/dev/null)" = 'ii ' ] || missing+=("$p")
  done
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
  if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "apt-get could not install ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
}
