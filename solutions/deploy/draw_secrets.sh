#!/bin/sh
# Draws the secrets that nobody has to know, once. Those that are there stay.
set -eu
umask 077
mkdir -p "${1:-secrets}"
cd "${1:-secrets}"
draw() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
for name in jwt_secret postgres_password shop_password; do
  [ -e "$name" ] || draw >"$name"
done
[ -e database_url ] || printf 'postgresql://shop:%s@database:5432/shop' "$(cat shop_password)" >database_url
chmod 644 ./* # each container's own user reads them; the folder is closed
