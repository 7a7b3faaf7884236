// Checkpoints: directories of Hugging Face's families and plait's own, in and out. Checkpoints, in
// and out, in one include: `io/load.hpp` and `io/save.hpp`, what describes a checkpoint
// (`io/files/config_file.hpp`, `io/family.hpp`) and what holds its tensors
// (`io/files/checkpoint.hpp`,
// `io/files/safetensors.hpp`, `io/files/safetensors_writer.hpp`). Needs nlohmann-json, and POSIX:
// files are
// mapped, locked and renamed.
// Test: tests/checks/headers/alone.sh
#pragma once

#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/safetensors.hpp>
#include <plait/io/files/safetensors_writer.hpp>
#include <plait/io/load.hpp>
#include <plait/io/load_packed.hpp>
#include <plait/io/save.hpp>
#include <plait/io/save_packed.hpp>
