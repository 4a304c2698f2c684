# Unpacks Debian packages into a root directory and makes a file system of it, as a user, under
# fakeroot: nothing is mounted, nothing is run. What dpkg then knows of a package is what it knows of one
# that is unpacked and not configured yet.
# Arguments: directory of the packages, label, size, the file system's file.
set -eu
debs=$1 label=$2 size=$3 image=$4
root=$image.root control=$image.control
rm -rf "$root" "$control"
# All of Debian is below usr since its 12th version; its packages do not all say so.
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/var/lib/dpkg/info"
for dir in bin sbin lib; do ln -s "usr/$dir" "$root/$dir"; done
info=$root/var/lib/dpkg/info status=$root/var/lib/dpkg/status
echo 1 > "$info/format"
for deb in "$debs"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -p --numeric-owner --keep-directory-symlink -C "$root"
    dpkg-deb -e "$deb" "$control"
    name=$(dpkg-deb -f "$deb" Package)
    [ "$(dpkg-deb -f "$deb" Multi-Arch)" != same ] || name=$name:arm64
    for file in "$control"/*; do
        [ "${file##*/}" = control ] || cp "$file" "$info/$name.${file##*/}"
    done
    { echo /.; dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's,^\.\(/.*[^/]\)/*$,\1,p'; } > "$info/$name.list"
    {
        sed -n 1p "$control/control"
        echo "Status: install ok unpacked"
        sed 1d "$control/control"
        if [ -s "$control/conffiles" ]; then
            echo Conffiles:
            sed 's,^\(.*\)$, \1 newconffile,' "$control/conffiles"
        fi
        echo
    } >> "$status"
    rm -rf "$control"
done
mke2fs -q -F -t ext4 -L "$label" -d "$root" "$image" "$size"
rm -rf "$root"
