# Makes a virtual environment for make: sh tools/environment.sh PYTHON FOLDER
#
# Where it cannot be made, one line says what to do, and no half of it stays behind.
set -u
python=$1
folder=$2

fail() {
    echo "evcharge: $1" >&2
    exit 1
}

tidy() {
    # What was there before is not ours to remove.
    [ -n "$was_there" ] || rm -rf "$folder"
}

# Debian has what its Python comes without in a package of the same name.
case ${python##*/} in
python3*) package=${python##*/}-venv ;;
*) package=python3-venv ;;
esac
install="on Debian and Ubuntu, as root: apt install $package"

command -v "$python" >/dev/null || fail "there is no $python on this machine; $install"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$python is $("$python" --version 2>&1), and 3.10 is needed; name a later one: PYTHON=python3.12"

was_there=
[ ! -e "$folder" ] || was_there=yes
trap 'tidy; exit 130' INT TERM HUP
said=$("$python" -m venv "$folder" 2>&1) && exit
tidy
case $said in
*ensurepip* | *"No module named"*venv*)
    fail "$python lacks what makes a virtual environment; $install"
    ;;
esac
echo "$said" >&2
fail "$python cannot make a virtual environment in $folder"
