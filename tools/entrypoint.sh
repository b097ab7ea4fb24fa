#!/bin/sh
# What the Docker image starts: evcharge-entrypoint USER FOLDER COMMAND…
#
# As root it makes what is in the folder, a volume, the user's, and carries out the command as that
# user, in the group of the same number. As anybody else it just carries out the command.
set -eu
user=$1
folder=$2
shift 2

if [ "$(id -u)" = 0 ]; then
    # A volume may be root's, or may have been filled by a program that ran as root. Only folders and
    # files: no symbolic link is followed, and a file with a second name may be one of elsewhere. What
    # cannot be changed the server will name, as far as it needs it.
    find "$folder" -xdev \( -type d -o -type f -links 1 \) \! -uid "$user" \
        -execdir chown --no-dereference "$user:$user" {} + 2>/dev/null || true
    # As it comes with the image, anybody may write to it.
    find "$folder" -maxdepth 0 -type d -perm -o=w -exec chmod 700 {} + 2>/dev/null || true
    export HOME="$folder"
    exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
fi
exec "$@"
