#!/usr/bin/env bash
# Installs the Slurm that tests/launch starts and stops by itself; changes nothing else. Debian and Ubuntu, as root.
set -euo pipefail
missing=
for program in munged slurmctld slurmd sbatch; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -z "$missing" ]; then
    echo "Slurm is installed"
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing. Installing Slurm needs root and apt-get; its tests are skipped without it" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
install() { timeout 300 apt-get install -y -qq --no-install-recommends munge slurmctld slurmd slurm-client >/dev/null; }
install || { timeout 120 apt-get update -qq && install; }
echo "Slurm is installed"
