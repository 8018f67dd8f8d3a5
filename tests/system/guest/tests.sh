#!/bin/sh
# Tests of ours that need no program beside them.
exec tests --test-threads=2
