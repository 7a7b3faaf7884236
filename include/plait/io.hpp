// Checkpoints: Hugging Face directories in, tensors out. Needs nlohmann-json.
#pragma once

#include <plait/io/checkpoint.hpp>
#include <plait/io/jamba_architecture.hpp>
#include <plait/io/jamba_config.hpp>
#include <plait/io/load.hpp>
#include <plait/io/safetensors.hpp>
#include <plait/io/safetensors_writer.hpp>
