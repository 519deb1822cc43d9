#!/bin/sh
# Creates the namespace TEMPORAL_NAMESPACE; safe to repeat. `create` does not read the variable itself.
set -eu
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1 ||
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 90d
