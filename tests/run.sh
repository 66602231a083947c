#!/usr/bin/env bash
# Run the tests: bash tests/run.sh [pytest arguments]
# Makes .venv and installs requirements.txt and requirements-dev.txt there if packages are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. ./environment.sh requirements.txt requirements-dev.txt
exec python3 -m pytest tests -rs "$@"  # at the end, which were skipped and why
