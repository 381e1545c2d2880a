# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every script here starts with: `source "$(dirname "$0")/lib.sh"`. Runs in the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
