# Sourced by test_all.sh and tests/run.sh from the top folder: puts a python3 on the PATH that has the
# packages of the requirement files given, in .venv if this machine's own lacks them.
#   . ./environment.sh requirements.txt [requirements-dev.txt]

has_packages() {
    python3 - "$@" <<'PYTHON' 2>/dev/null
import importlib.metadata, re, sys
numbers = lambda version: [int(n) for n in re.findall(r"\d+", version)[:3]]
assert sys.version_info >= (3, 10)
for path in sys.argv[1:]:
    for name, least in re.findall(r"^([\w-]+)>=([\d.]+)", open(path).read(), re.M):
        assert numbers(importlib.metadata.version(name)) >= numbers(least)
PYTHON
}

if [ -x .venv/bin/python3 ]; then
    PATH="$PWD/.venv/bin:$PATH"
fi
if ! has_packages "$@"; then
    if [ ! -x .venv/bin/python3 ]; then
        for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
            if $candidate -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
                $candidate -m venv .venv
                break
            fi
        done
        [ -x .venv/bin/python3 ] || { echo "Python 3.10 or later with venv is needed" >&2; exit 1; }
    fi
    PATH="$PWD/.venv/bin:$PATH"
    echo "Installing the packages into .venv (some minutes, 5 GB) ..."
    python3 -m pip install --quiet --disable-pip-version-check $(printf -- '-r %s ' "$@")
fi
