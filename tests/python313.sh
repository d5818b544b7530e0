#!/usr/bin/env bash
# The digests of the steps do not depend on the Python: what lkca.pipeline.digests prints here is what it prints in a Debian
# 13, with the bare Python 3.13 of that system. As root; three minutes and 0.8 GB, seconds when called again:
#   sudo tests/python313.sh [FOLDER] [--suite]
# FOLDER (/var/tmp/lkca-debian13) gets the Debian and keeps it. With --suite lkca is installed there with all it needs,
# and the quick tests run: ten minutes, 7 GB more. MIRROR names another mirror of Debian than debootstrap does.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=/var/tmp/lkca-debian13 suite='' mounted=()
environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/bin:/usr/sbin)

fail() {
    echo "python313.sh: $*" >&2
    exit 1
}

attach() { # attach PLACE WORDS...: mount, as the words say, at a place in the folder
    mkdir --parents "$folder/$1"
    mount "${@:2}" "$folder/$1"
    mounted+=("$folder/$1")
}

inside() {
    chroot "$folder" env --ignore-environment --chdir=/lkca "${environment[@]}" "$@"
}

for word in "$@"; do
    case $word in
    --suite) suite=yes ;;
    -*) fail "does not know $word: sudo tests/python313.sh [FOLDER] [--suite]" ;;
    *) folder=$(realpath --canonicalize-missing "$word") ;;
    esac
done
cd "$repository"
[ "$(id -u)" -eq 0 ] || fail "enters another system, so it has to be called by root: sudo tests/python313.sh"
[ -x .venv/bin/python ] || fail "give first: make setup"
trap 'for place in "${mounted[@]}"; do umount --lazy "$place"; done' EXIT

if [ ! -x "$folder/usr/bin/python3.13" ]; then
    [ ! -e "$folder" ] || rmdir "$folder" 2>/dev/null || fail "$folder is no Debian 13: remove it, or name another"
    rm -rf --one-file-system "$folder.part"
    debootstrap --variant=minbase --include=python3,python3-venv,python3-dev,g++,make,git,ca-certificates \
        trixie "$folder.part" ${MIRROR:+"$MIRROR"} >"$folder.log" || fail "needs debootstrap, which says: $folder.log"
    mv "$folder.part" "$folder"
fi
mkdir --parents "$folder/lkca" # the checkout as it is, with what is new in it
find "$folder/lkca" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | tar -c --ignore-failed-read --null -T - | tar -xC "$folder/lkca"

inside python3.13 -m lkca.pipeline.digests >"$folder/fingerprint"
.venv/bin/python -m lkca.pipeline.digests | diff --unified=0 - "$folder/fingerprint" || fail "Python 3.13 has other digests"
echo "OK: $(inside python3.13 --version) has the same $(wc -l <"$folder/fingerprint") digests."
[ -n "$suite" ] || exit 0

for name in "${!PIP_@}" "${!UV_@}" http_proxy https_proxy no_proxy SSL_CERT_FILE; do
    [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || cp --dereference "$file" "$folder$file" # whom this machine asks and trusts
done
attach proc -t proc proc
attach dev/shm -t tmpfs tmpfs
for place in ${PIP_FIND_LINKS:-}; do
    [ ! -d "$place" ] || attach "$place" --bind --options ro "$place"
done
inside make setup
inside .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --quiet -k "not killed_training_has" \
    --deselect tests/test_browser.py --deselect tests/test_environment.py \
    --deselect tests/test_workflow.py --deselect tests/test_reruns.py --deselect tests/test_docs.py
