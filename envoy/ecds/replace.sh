#!/bin/sh
# Puts a new ECDS resource in place of the running one, and says whether Envoy took it.
#
#   envoy/ecds/replace.sh NEW.yaml [ADMIN]        ADMIN: Envoy's admin address, default http://127.0.0.1:9901
#
# Exit 0: taken. Exit 1: refused, and the old one stays in force (the reason is in Envoy's log). Exit 2: no answer.
set -eu
new=$1
admin=${2:-http://127.0.0.1:9901}
here=$(cd "$(dirname "$0")" && pwd)

count() { # one of Envoy's counters about this filter's updates
    curl --silent --fail "$admin/stats?filter=extension_config_discovery.http_filter.weir.$1\$" | sed -n 's/.*: //p'
}

# Not config_reload: that one counts a refused resource too.
taken=$(count update_success)
refused=$(count update_rejected)

# The rename must stay on one file system, so the copy is made beside the old file.
cp "$new" "$here/.weir.yaml.new"
mv "$here/.weir.yaml.new" "$here/weir.yaml"

tries=0
while [ "$tries" -lt 100 ]; do
    if [ "$(count update_success)" -gt "$taken" ]; then echo "taken"; exit 0; fi
    if [ "$(count update_rejected)" -gt "$refused" ]; then echo "refused: the old one stays"; exit 1; fi
    tries=$((tries + 1))
    sleep 0.1
done
echo "no answer in 10 s: does an Envoy watch $here?" >&2
exit 2
