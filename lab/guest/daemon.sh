#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# daemon.sh NAME CMD ARGS...: starts CMD in the background of a lab host. Its output is appended to
# /lab/NAME.log, its pid is in /run/lab-NAME.pid; once it has ended, how is in /run/lab-NAME.end.
# If it crashes, it leaves /lab/core.PID.
name=$1
shift
rm -f "/run/lab-$name.pid" "/run/lab-$name.end"
ulimit -c unlimited
# shellcheck disable=SC2016 # the inner shell's own variables
setsid bash -c 'name=$1; shift; "$@" & echo $! >"/run/lab-$name.new"; mv "/run/lab-$name.new" "/run/lab-$name.pid"
  wait $!; echo $? >"/run/lab-$name.end"' - "$name" "$@" >>"/lab/$name.log" 2>&1 </dev/null &
until [[ -s /run/lab-$name.pid ]]; do sleep 0.01; done
