// Checkpoints: directories of Hugging Face's families and plait's own, in and out. Checkpoints, in
// and out, in one include: `io/load.hpp` and `io/save.hpp`, what describes a checkpoint
// (`io/config_file.hpp`, `io/family.hpp`) and what holds its tensors (`io/checkpoint.hpp`,
// `io/safetensors.hpp`, `io/safetensors_writer.hpp`). Needs nlohmann-json, and POSIX: files are
// mapped, locked and renamed.
// Test: tests/headers/alone.sh
#pragma once

#include <plait/io/checkpoint.hpp>
#include <plait/io/config_file.hpp>
#include <plait/io/family.hpp>
#include <plait/io/load.hpp>
#include <plait/io/load_packed.hpp>
#include <plait/io/safetensors.hpp>
#include <plait/io/safetensors_writer.hpp>
#include <plait/io/save.hpp>
#include <plait/io/save_packed.hpp>
