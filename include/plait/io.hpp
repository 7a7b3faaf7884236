// Checkpoints: directories of Hugging Face's families and plait's own, in and out. Needs nlohmann-json.
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
