#!/bin/sh
# Make a device's private key and signing request. For the device itself: needs openssl and nothing of Milkrun.
# Usage: make-csr.sh TENANT:DEVICE [FOLDER]     writes FOLDER/device.key (mode 0600) and FOLDER/device.csr
set -eu

thing=${1:?"usage: make-csr.sh TENANT:DEVICE [FOLDER]"}
folder=${2:-.}

# grep looks at lines, so a name of several lines is refused first.
if [ "$(printf '%s' "$thing" | wc -l)" -ne 0 ] ||
    ! printf '%s' "$thing" | LC_ALL=C grep -Eqx '[a-z0-9-]{2,32}:[A-Za-z0-9_-]{1,64}'; then
    echo "make-csr: '$thing' is no thing name: tenant (2 to 32 of a-z 0-9 -), ':', device (1 to 64 of A-Z a-z 0-9 _ -)" >&2
    exit 2
fi
if [ -e "$folder/device.key" ]; then
    echo "make-csr: $folder/device.key is there already; a key is not made twice over" >&2
    exit 1
fi

mkdir -p "$folder"
umask 077
openssl ecparam -name prime256v1 -genkey -noout -out "$folder/device.key"
# The name is for the reader: the certificate's is decided by whoever signs. A CN of openssl's ends at 64 characters.
openssl req -new -sha256 -key "$folder/device.key" -subj "/CN=$(printf '%.64s' "$thing")" -out "$folder/device.csr"
chmod 644 "$folder/device.csr"
echo "made $folder/device.key (keep it here) and $folder/device.csr (give it to the operator of Milkrun)"
