#!/usr/bin/env bash
# Installs what this checkout needs and is missing: distribution packages, a Python environment in .venv, and the pages'
# scripts and styles from npm. Safe to repeat and to interrupt; quick when all is there.
#
# usage: ./setup.sh demo|check|test|bench|sip|nominatim
#   demo   what the program needs
#   check  + the checkers            test, bench  + a browser, Chinese fonts and GDAL's programs for the journeys
#   sip    + kamailio and sipp beside all of that
#   nominatim  what the program and the checkers need, and what Nominatim is imported and built with
#
# Exit codes: 0 ready, 2 something must be done by hand first (the command is printed), 1 a step failed.
set -euo pipefail
umask 022

purpose="${1:-demo}"
case "$purpose" in demo | check | test | bench | sip | nominatim) ;; *)
    echo "usage: ./setup.sh demo|check|test|bench|sip|nominatim" >&2
    exit 2
    ;;
esac

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
cd "$here"
var="${WANGGE_VAR:-$here/var}"
stamps="$var/setup"
log="$var/log/setup.log"
mkdir -p "$stamps" "$var/log"
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
# Nothing is written outside the checkout, caches included; what an interrupted set-up fetched is not fetched again.
export UV_CACHE_DIR="${UV_CACHE_DIR:-$var/cache/uv}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$var/cache/pip}"
export npm_config_cache="${npm_config_cache:-$var/cache/npm}"

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
# Runs a long step quietly: its output goes to the log, and is shown only when it fails.
step() {
    local title="$1" begun=$SECONDS
    shift
    printf '  %-44s' "$title"
    printf '\n== %s: %s\n' "$(date -u +%FT%TZ)" "$*" >>"$log"
    if "$@" >>"$log" 2>&1 </dev/null 9>&-; then
        printf ' %4d s\n' $((SECONDS - begun))
    else
        printf ' failed\n'
        tail -n 25 "$log" >&2
        fail "$title failed; the whole output is in $log."
    fi
}

# Two set-ups of one checkout wait for each other.
exec 9>"$stamps/lock"
flock 9

# --- distribution packages ------------------------------------------------------------------------------------------

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        # ensurepip is what Debian keeps back in python3-venv.
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

has_postgis() {
    local folder version
    for folder in /usr/lib/postgresql/*/bin; do
        [ -x "$folder/initdb" ] || continue
        version="$(basename "$(dirname "$folder")")"
        # pg_trgm and btree_gist come with the server package; PostGIS is a package of its own.
        if [ "${version%%.*}" -ge 15 ] && [ -e "/usr/share/postgresql/$version/extension/postgis.control" ] &&
            [ -e "/usr/share/postgresql/$version/extension/btree_gist.control" ]; then
            return
        fi
    done
    return 1
}

has_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
} >/dev/null

has_cjk_font() {
    compgen -G '/usr/share/fonts/*/*/*CJK*' >/dev/null
}

# Any font with Chinese: enough for printed item sheets (PDF).
has_chinese_font() {
    has_cjk_font || compgen -G '/usr/share/fonts/*/*/wqy-*' >/dev/null || compgen -G '/usr/share/fonts/*/*/*Han*' >/dev/null
}

# What draws PDF: Pango, which brings HarfBuzz and Fontconfig.
has_pango() {
    compgen -G '/usr/lib/*/libpangoft2-1.0.so.0' >/dev/null || compgen -G '/usr/lib*/libpangoft2-1.0.so.0' >/dev/null
}

# The assets are checked further down; here it is enough to know whether npm will be needed.
assets_stamp() { cat package.json package-lock.json api/vendor.json api/vendor.py | sha256sum | cut -d' ' -f1; }
assets_ready() {
    [ "$(cat "$stamps/assets" 2>/dev/null)" = "$(assets_stamp)" ] && [ -d api/static/vendor ]
}

# The switchboard's program with what speaks HTTP, and a telephone to call it with.
has_sip() {
    { command -v kamailio || [ -x /usr/sbin/kamailio ]; } && command -v sipp &&
        compgen -G '/usr/lib/*/kamailio/modules/http_client.so'
} >/dev/null

postgres_package() {
    local version
    for version in 15 16 17 18 19; do
        if apt-cache show "postgresql-$version-postgis-3" >/dev/null 2>&1; then
            echo "$version"
            return
        fi
    done
    return 1
}

missing=()
wants_postgres=
optional=()
sip=()
find_python >/dev/null || missing+=(python3 python3-venv)
has_postgis || wants_postgres=yes
# redis-tools holds the server's program without the service that redis-server would start on port 6379.
command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null || missing+=(redis-tools)
if ! assets_ready; then
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
fi
for tool in setpriv unshare flock; do
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || missing+=(util-linux)
done
# Without these two only PDF files cannot be made, so they are no reason to refuse either.
has_pango || optional+=(libpango-1.0-0 libpangoft2-1.0-0)
if [ "$purpose" = test ] || [ "$purpose" = bench ] || [ "$purpose" = sip ]; then
    has_chromium || optional+=(chromium)
    has_cjk_font || optional+=(fonts-noto-cjk)
    # ogrinfo and ogr2ogr, which read /ogc as QGIS does; the library itself comes with PostGIS.
    command -v ogrinfo >/dev/null || optional+=(gdal-bin)
else
    # A twentieth of the size of Noto's fonts.
    has_chinese_font || optional+=(fonts-wqy-microhei)
fi

if [ "$purpose" = nominatim ]; then
    command -v osm2pgsql >/dev/null || optional+=(osm2pgsql)
    # PyICU comes as source.
    [ -e /usr/include/unicode/uversion.h ] || optional+=(libicu-dev)
    command -v pkg-config >/dev/null || optional+=(pkg-config)
    command -v g++ >/dev/null || optional+=(g++)
    compgen -G '/usr/include/python3*/Python.h' >/dev/null || optional+=(python3-dev)
fi

if [ "$purpose" = sip ] && ! has_sip; then
    sip=(kamailio kamailio-utils-modules sip-tester)
fi

if [ ${#missing[@]} -gt 0 ] || [ -n "$wants_postgres" ] || [ ${#optional[@]} -gt 0 ] || [ ${#sip[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
        { say "Needed: Python 3.11, PostgreSQL 15 with PostGIS 3, Redis, Node.js and npm. This machine has no apt-get." >&2; exit 2; }
    as_root=()
    by_hand=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
            say "Packages are missing; sudo may ask for your password."
            as_root=(sudo)
            sudo true || by_hand=yes
        else
            by_hand=yes
        fi
    fi
    apt_get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600)
    if [ -z "$by_hand" ]; then
        say "Installing missing packages of the distribution (log: $log)"
        step "package lists" "${apt_get[@]}" update
    fi
    conf=/etc/postgresql-common/createcluster.d/wangge-setup.conf
    if [ -n "$wants_postgres" ]; then
        if version="$(postgres_package)"; then
            missing+=("postgresql-$version" "postgresql-$version-postgis-3")
        elif [ -n "$by_hand" ]; then
            missing+=(postgresql-15 postgresql-15-postgis-3)
        else
            say "This distribution has no PostgreSQL 15 or newer with PostGIS 3; Debian 12 and Ubuntu 24.04 have." >&2
            exit 2
        fi
    fi
    # A missing browser alone only skips the browser tests, and missing Pango the PDF; it is no reason to refuse.
    if [ -n "$by_hand" ] && [ ${#missing[@]} -eq 0 ]; then
        say "Not installed: ${optional[*]} ${sip[*]}. Browser journeys will be skipped, PDF files may be missing or without Chinese." >&2
    elif [ -n "$by_hand" ]; then
        all=("${missing[@]}" "${optional[@]}")
        {
            say "Packages are missing and you are neither root nor able to use sudo here. Have this run as root, then repeat:"
            say
            command=""
            if [ -n "$wants_postgres" ]; then
                # Without it the package starts a cluster of its own on port 5432.
                command="mkdir -p ${conf%/*} && echo 'create_main_cluster = false' > $conf && "
            fi
            say "  ${command}apt-get update && apt-get install -y --no-install-recommends ${all[*]}"
            say
        } >&2
        exit 2
    else
        if [ -n "$wants_postgres" ]; then
            # The package would start a cluster on port 5432. Our file keeps it from that and goes again afterwards.
            made_folder=
            [ -d "${conf%/*}" ] || made_folder=yes
            "${as_root[@]}" mkdir -p "${conf%/*}"
            echo 'create_main_cluster = false' | "${as_root[@]}" tee "$conf" >/dev/null
            forget_conf() {
                "${as_root[@]}" rm -f "$conf"
                [ -z "$made_folder" ] || "${as_root[@]}" rmdir --ignore-fail-on-non-empty "${conf%/*}" || true
            }
            trap forget_conf EXIT
        fi
        # An earlier set-up may have been interrupted between unpacking and configuring.
        step "finish interrupted installs" "${as_root[@]}" dpkg --configure -a
        if [ ${#missing[@]} -gt 0 ]; then
            step "${missing[*]:0:4}" "${apt_get[@]}" install --no-install-recommends "${missing[@]}"
        fi
        if [ -n "$wants_postgres" ]; then
            forget_conf
            trap - EXIT
        fi
        for package in "${optional[@]}"; do
            # Ubuntu has its browser as a snap only, which a container cannot run.
            if [[ "$(LC_ALL=C apt-cache policy "$package" 2>/dev/null)" =~ Candidate:\ [0-9] ]]; then
                step "$package" "${apt_get[@]}" install --no-install-recommends "$package"
            else
                say "  $package is not in this distribution; browser journeys or PDF files will be missing."
            fi
        done
        if [ ${#sip[@]} -gt 0 ]; then
            # The package would start a switchboard on port 5060. Our file keeps it from that and goes again afterwards.
            policy=/usr/sbin/policy-rc.d
            if [ ! -e "$policy" ]; then
                forget_policy() { "${as_root[@]}" rm -f "$policy"; }
                trap forget_policy EXIT
                printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
                "${as_root[@]}" chmod 755 "$policy"
                step "${sip[*]:0:4}" "${apt_get[@]}" install --no-install-recommends "${sip[@]}"
                forget_policy
                trap - EXIT
            else
                step "${sip[*]:0:4}" "${apt_get[@]}" install --no-install-recommends "${sip[@]}"
            fi
        fi
    fi
fi
has_postgis || fail "PostgreSQL with PostGIS is still missing after the install; see $log."

# --- Python ---------------------------------------------------------------------------------------------------------

base="$(find_python)" || fail "Python 3.11 or newer with venv is still missing; see $log."
files=(requirements/uv.txt requirements/app.txt)
mode=app
# Once there, the checkers stay: a demo after a test removes nothing.
if [ "$purpose" != demo ] || [ "$(cut -d' ' -f2 "$stamps/python" 2>/dev/null)" = dev ]; then
    files+=(requirements/dev.txt)
    mode=dev
fi
# The environment's scripts name its path, so a moved checkout needs a new one.
inputs() { { echo "$here $1"; cat "${files[@]}"; } | sha256sum | cut -d' ' -f1; }
venv_works() { [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
owner_of_venv() { cat .venv/wangge-home 2>/dev/null; }

if ! venv_works || { [ -e .venv/wangge-home ] && [ "$(owner_of_venv)" != "$here" ]; }; then
    rm -rf .venv
fi
if [ ! -d .venv ]; then
    say "Making the Python environment with $base"
    step "virtual environment" "$base" -m venv .venv
fi
python=.venv/bin/python
wanted="$(inputs "$("$python" -V)")"
if [ "$(cat "$stamps/python" 2>/dev/null)" != "$wanted $mode" ]; then
    say "Installing Python packages (log: $log)"
    # Whoever uses a mirror has told pip; uv is told the same.
    mirror="${PIP_INDEX_URL:-$("$base" -m pip config get global.index-url 2>/dev/null || true)}"
    [ -z "$mirror" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$mirror}"
    "$python" -m pip --version >/dev/null 2>&1 || step "pip" "$python" -m ensurepip
    install_uv() { "$python" -m pip install --quiet --require-hashes --only-binary :all: -r requirements/uv.txt; }
    lists=()
    for file in "${files[@]}"; do lists+=(-r "$file"); done
    with_uv() {
        install_uv || return 1
        # A demo only adds; the checkers' purposes make the environment exactly the locked one.
        if [ "$mode" = dev ]; then
            "$python" -m uv pip sync --python "$python" --require-hashes "${files[@]}"
        else
            "$python" -m uv pip install --python "$python" --require-hashes "${lists[@]}"
        fi
    }
    with_pip() { "$python" -m ensurepip && "$python" -m pip install --require-hashes "${lists[@]}"; }
    either() { with_uv || { echo "uv could not; trying pip"; with_pip; }; }
    step "packages ($mode)" either
    echo "$wanted $mode" >"$stamps/python.new"
    mv "$stamps/python.new" "$stamps/python"
fi

# The packages stand at the root of the checkout: a line in site-packages finds them, and a small script runs them.
site="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
[ "$(cat "$site/wangge.pth" 2>/dev/null)" = "$here" ] || printf '%s\n' "$here" >"$site/wangge.pth"
script='#!/bin/sh
# Written by setup.sh. -P: a folder called "api" where you stand is not taken for ours.
exec "$(dirname "$(readlink -f "$0")")/python" -P -m api "$@"'
if [ "$(cat .venv/bin/wangge 2>/dev/null)" != "$script" ]; then
    printf '%s\n' "$script" >.venv/bin/wangge.new
    chmod 755 .venv/bin/wangge.new
    mv .venv/bin/wangge.new .venv/bin/wangge
fi
[ "$(owner_of_venv)" = "$here" ] || printf '%s\n' "$here" >.venv/wangge-home

# --- scripts and styles ---------------------------------------------------------------------------------------------

if ! assets_ready; then
    say "Fetching the pages' scripts and styles"
    step "npm packages" npm ci --ignore-scripts --no-audit --no-fund
    step "copy and check them" "$python" -m api.vendor
    assets_stamp >"$stamps/assets.new"
    mv "$stamps/assets.new" "$stamps/assets"
fi
