#!/usr/bin/env bash
# Installs the system packages that the lab uses (with "test" as argument also those that only tests use), or names them
# when it may not.
set -euo pipefail

# command:package
wanted="ip:iproute2 nft:nftables nginx:nginx-light curl:curl openssl:openssl unshare:util-linux"
[ "${1:-}" = test ] && wanted="$wanted tcpdump:tcpdump kubectl:kubernetes-client serf:serf"

missing() {
  for pair in $wanted; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
  "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

packages=$(missing | xargs)
[ -z "$packages" ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing: $packages"
  apt-get update -qq || true
  # One by one, so that a name that this release lacks does not keep the others away.
  # nginx is used as a program, never as a service of this machine.
  for package in $packages; do
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$package" >/dev/null || true
  done
  packages=$(missing | xargs)
  [ -z "$packages" ] && exit 0
  echo "apt-get did not provide: $packages" >&2
  exit 1
fi
echo "missing programs; install them with: sudo apt-get install $packages" >&2
exit 1
