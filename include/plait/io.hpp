// Checkpoints in one include: loading and saving models (io/load.hpp, io/save.hpp), packed files
// (io/load_packed.hpp, io/save_packed.hpp), the families of checkpoints (io/family.hpp) and the
// files themselves (io/files). It needs nlohmann-json and POSIX.
// Test: tests/checks/headers/alone.sh
#pragma once

#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/config_reader.hpp>
#include <plait/io/files/packed_file.hpp>
#include <plait/io/files/safetensors.hpp>
#include <plait/io/files/safetensors_writer.hpp>
#include <plait/io/files/stored_type.hpp>
#include <plait/io/files/tensor_view.hpp>
#include <plait/io/load.hpp>
#include <plait/io/load_packed.hpp>
#include <plait/io/save.hpp>
#include <plait/io/save_packed.hpp>
