// The version, which the build reads from here.
// Test: tests/checks/headers/alone.sh
#pragma once

/// The version, major.minor.patch.
#define PLAIT_VERSION_MAJOR 0
#define PLAIT_VERSION_MINOR 1
#define PLAIT_VERSION_PATCH 0
