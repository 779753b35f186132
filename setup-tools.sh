#!/usr/bin/env bash
# Installs the system packages that the lab and the tests use, or names them when it may not.
set -euo pipefail

# command:package
wanted="ip:iproute2 nft:nftables nginx:nginx-light curl:curl openssl:openssl unshare:util-linux tcpdump:tcpdump kubectl:kubernetes-client serf:serf"
missing=()
for pair in $wanted; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing: ${missing[*]}"
  apt-get update -qq
  # nginx is used as a program, never as a service of this machine.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  exit 0
fi
echo "missing programs; install them with: sudo apt-get install ${missing[*]}" >&2
exit 1
