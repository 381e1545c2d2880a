#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# daemon.sh NAME CMD ARGS...: starts CMD in the background of a lab host. Its output is appended to
# /lab/NAME.log, its pid is in /run/lab-NAME.pid.
name=$1
shift
setsid "$@" >>"/lab/$name.log" 2>&1 </dev/null &
echo $! >"/run/lab-$name.pid"
