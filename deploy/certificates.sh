#!/bin/sh
# Make an authority of the mesh's own and a certificate for each of its parts, with openssl alone:
#
#   sh deploy/certificates.sh FOLDER [PART[=NAME,NAME...] ...]
#
# The parts are nats, ingest, signal, store, gateway and database unless some are given. A certificate is for the part's
# name, localhost, 127.0.0.1 and ::1, and for the names and addresses after `=`: signal=signal.example.org,10.0.0.5
# FOLDER/PART has tls.crt, tls.key and ca.crt, as a secret of Kubernetes' cert-manager has them. Only you may enter FOLDER,
# which has the authority's key; a container that is given FOLDER/PART reads what is in there.
# Run again, it renews the certificates by the same authority: services take them up without a restart.
# DAYS=365 is how long a certificate is good, and the authority ten times as long.
set -eu
umask 022
folder=${1:?usage: certificates.sh FOLDER [PART[=NAME,NAME...] ...]}
shift
days=${DAYS:-365}
[ $# -gt 0 ] || set -- nats ingest signal store gateway database

mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"
if [ ! -e ca.key ]; then
  openssl ecparam -name prime256v1 -genkey -noout -out ca.new
  chmod 600 ca.new
  printf '[req]\ndistinguished_name=name\nx509_extensions=is\n[name]\n[is]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' >ca.conf
  openssl req -x509 -new -config ca.conf -key ca.new -sha256 -days $((days * 10)) -subj "/CN=tickmesh" -out ca.crt
  rm ca.conf
  mv ca.new ca.key
fi
for part; do
  names=${part#*=}
  [ "$names" != "$part" ] || names=
  part=${part%%=*}
  alternatives=DNS:$part,DNS:localhost,IP:127.0.0.1,IP:::1
  for name in $(echo "$names" | tr , ' '); do
    case $name in
      *:*) alternatives=$alternatives,IP:$name ;;
      *[!0-9.]*) alternatives=$alternatives,DNS:$name ;;
      *) alternatives=$alternatives,IP:$name ;;
    esac
  done
  mkdir -p "$part"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' \
    "$alternatives" >"$part/new.ext"
  openssl ecparam -name prime256v1 -genkey -noout -out "$part/tls.key.new"
  openssl req -new -key "$part/tls.key.new" -subj "/CN=$part" -out "$part/new.csr"
  openssl x509 -req -in "$part/new.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days "$days" \
    -extfile "$part/new.ext" -out "$part/tls.crt.new" 2>"$part/new.err" || { cat "$part/new.err" >&2 && exit 1; }
  rm "$part/new.ext" "$part/new.csr" "$part/new.err"
  chmod 644 "$part/tls.key.new" # a container's user is another one
  cp ca.crt "$part/ca.crt"
  mv "$part/tls.key.new" "$part/tls.key"
  mv "$part/tls.crt.new" "$part/tls.crt"
done
