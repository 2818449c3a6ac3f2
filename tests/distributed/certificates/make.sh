#!/usr/bin/env bash
# Makes the certificates of the tests: an authority, a learner on this machine, two robots, and one whom
# another authority has signed. They last a hundred years, and protect nothing.
set -euo pipefail
cd "$(dirname "$0")"
authority() { # name
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$1.key" -out "$1.pem"
}
certificate() { # name, authority, alternative names
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 36500 -out "$1.pem" -extfile <(
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n' "$3"
  )
  rm "$1.csr"
}
authority authority
authority another-authority
certificate learner authority DNS:localhost,IP:127.0.0.1
certificate robot-1 authority DNS:robot-1
certificate robot-2 authority DNS:robot-2
certificate stranger another-authority DNS:stranger
rm authority.key another-authority.key ./*.srl
