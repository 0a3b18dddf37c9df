#!/bin/bash
# Counts the words of a play. $PLAY is a file, fetched before this runs; what is written to $COUNTS is stored after.
set -euo pipefail
echo "counting the words of $TITLE ($S3_PLAY)"
tr -cs "[:alpha:]'" '\n' <"$PLAY" | tr '[:upper:]' '[:lower:]' | sed '/^$/d' | LC_ALL=C sort | uniq -c |
  LC_ALL=C sort -k1,1nr -k2,2 >"$COUNTS"
echo "$(wc -l <"$COUNTS") different words"
