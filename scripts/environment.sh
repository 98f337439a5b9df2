# Sourced by scripts/demo and scripts/test: the virtual environment, and Debian packages where root.
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${WETREAD_VENV:-$root/.venv}"

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Install the Debian packages that are missing. Without root or apt that is left to the person.
debian_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || return 0
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
            || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "Not installed: ${missing[*]}. To have them: sudo apt-get install ${missing[*]}"
        return 0
    fi
    say "Installing Debian packages: ${missing[*]}"
    if ! apt_install "${missing[@]}" 2>/dev/null; then
        # The lists may be empty or old, or one package may be unknown to this release.
        apt_get update || true
        for package in "${missing[@]}"; do
            apt_install "$package" || say "Going on without $package."
        done
    fi
    # Debian starts an Orthanc open to the network; the demo runs its own on loopback.
    if [[ " ${missing[*]} " == *" orthanc "* && -d /run/systemd/system ]]; then
        systemctl disable --now orthanc >/dev/null 2>&1 || true
    fi
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null >&2; }
apt_install() { apt_get install -y --no-install-recommends "$@"; }

# Print a Python of version 3.11 or later.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python3.14; do
        if command -v "$name" >/dev/null \
            && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

make_venv() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return 0
    local python
    find_python >/dev/null || debian_packages python3 python3-venv
    python="$(find_python)" || die "Python 3.11 or later is needed, e.g. apt-get install python3"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || debian_packages python3-venv
    say "Making the virtual environment $venv"
    "$python" -m venv --clear "$venv" >&2 \
        || die "Python's venv module does not work: apt-get install python3-venv, or set WETREAD_VENV to an environment with pip"
}

# Install Wetread, with the extra dev if given, unless nothing has changed since the last time.
install_wetread() {
    local extra="${1:-}" stamp wanted done
    make_venv
    stamp="$venv/wetread-installed${extra:+-$extra}"
    wanted="$(cat "$root/pyproject.toml" "$root/requirements.lock" | sha256sum) $root"
    # The dev extra has all that the plain installation has.
    for done in "$stamp" "$venv/wetread-installed-dev"; do
        [ "$(cat "$done" 2>/dev/null)" = "$wanted" ] && return 0
    done
    say "Installing Wetread${extra:+ with extra $extra} into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --constraint "$root/requirements.lock" --editable "$root${extra:+[$extra]}" >&2 \
        || die "pip could not install Wetread: see above"
    printf '%s' "$wanted" >"$stamp"
}
