#!/usr/bin/env bash
# Compare the latents in files with those that an emulated 64-bit ARM machine decodes:
#   bash tests/golden/emulated.sh FOLDER [FILE.encoded ...]
# For Debian on x86-64. Nothing is installed: packages are unpacked into FOLDER, 1 GB. Needs apt, pip and NumPy.
set -euo pipefail
folder=$(realpath -m "$1")
shift
files=()
for file in "$@"; do files+=("$(realpath "$file")"); done
cd "$(dirname "$0")/../.."
arm=$folder/arm64 ours=$folder/amd64

unpack() { # an architecture, and packages that are unpacked with all that they need
    local state=$folder/apt-$1 package
    mkdir -p "$state"/{lists,cache/archives}/partial "$folder/$1"
    : > "$state/status"
    local options=(-o "Dir::State=$state" -o "Dir::Cache=$state/cache" -o "Dir::State::status=$state/status"
        -o "APT::Architecture=$1" -o "APT::Architectures=$1")
    apt-get "${options[@]}" -qq update
    apt-get "${options[@]}" -qq install --no-install-recommends --download-only -y "${@:2}"
    for package in "$state"/cache/archives/*.deb; do
        dpkg -x "$package" "$folder/$1"
    done
}

if [ ! -e "$folder/site" ]; then
    unpack arm64 python3-minimal libpython3-stdlib libstdc++6 zlib1g
    unpack amd64 qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    # Scripts of the linker have absolute paths.
    grep -lI GROUP "$ours"/usr/aarch64-linux-gnu/lib/lib*.so |
        xargs sed -i "s#/usr/aarch64-linux-gnu/lib/#$ours/usr/aarch64-linux-gnu/lib/#g"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu exec %s/usr/bin/aarch64-linux-gnu-gcc "$@"\n' \
        "$ours" "$ours" > "$folder/cc"
    chmod +x "$folder/cc"
    version=$(basename "$(readlink "$arm/usr/bin/python3")")
    python3 -m pip download -q -d "$folder/wheels" --platform=manylinux2014_aarch64 --only-binary=:all: \
        --python-version="${version#python}" "numpy>=1.26,<2.3" tqdm
    for wheel in "$folder"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$folder/site"
    done
fi

emulated=("$ours/usr/bin/qemu-aarch64-static" -L "$arm" -E "PYTHONPATH=$folder/site:$PWD"
    -E PYTHONDONTWRITEBYTECODE=1 -E OPENBLAS_NUM_THREADS=1 -E "CC=$folder/cc" -E "XDG_CACHE_HOME=$folder/cache"
    "$arm/usr/bin/python3")
"${emulated[@]}" -c "import platform, numpy; from coding import engine_c; print(platform.machine(), numpy.__version__)"
PYTHONPATH=. python3 tests/golden/latents.py "${files[@]}" > "$folder/here.txt"
"${emulated[@]}" tests/golden/latents.py "${files[@]}" > "$folder/there.txt"
diff "$folder/here.txt" "$folder/there.txt"
echo "the same latents"
