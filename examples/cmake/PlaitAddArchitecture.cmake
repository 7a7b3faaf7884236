# plait_add_architecture(<target> CHECKPOINT <dir> [NAME <name>])
#
# <target> can then use
#
#   #include <plait_architecture.hpp>
#   using model = checkpoint_architecture::model<>;
#
# plait-config makes the header from <dir>/config.json at build time, and again when that file
# changes. <dir> may be relative to the current source directory. <name> is the namespace, by default
# checkpoint_architecture.
include_guard(GLOBAL)

function(plait_add_architecture target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CHECKPOINT;NAME" "")
  if(NOT TARGET "${target}")
    message(FATAL_ERROR "plait_add_architecture: there is no target \"${target}\".")
  endif()
  if(DEFINED arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "plait_add_architecture: \"${arg_UNPARSED_ARGUMENTS}\" is not understood; "
                        "expected CHECKPOINT <dir> [NAME <name>].")
  endif()
  if(NOT arg_CHECKPOINT)
    message(FATAL_ERROR "plait_add_architecture: CHECKPOINT <dir> is missing.")
  endif()
  if(NOT arg_NAME)
    set(arg_NAME checkpoint_architecture)
  endif()
  if(NOT TARGET plait::plait-config)
    message(FATAL_ERROR "plait_add_architecture: there is no target plait::plait-config, the tool "
                        "that writes the header; plait has it where CLI11 and nlohmann-json were found when it was built.")
  endif()

  get_filename_component(checkpoint "${arg_CHECKPOINT}" ABSOLUTE
    BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  set(config "${checkpoint}/config.json")
  if(NOT EXISTS "${config}" OR IS_DIRECTORY "${config}")
    message(FATAL_ERROR
      "plait_add_architecture: the checkpoint \"${checkpoint}\" has no config.json.")
  endif()

  set(directory "${CMAKE_CURRENT_BINARY_DIR}/${target}-architecture")
  set(header "${directory}/plait_architecture.hpp")
  file(MAKE_DIRECTORY "${directory}")
  # Through a second file: a failed redirection leaves an empty file, which the next build would
  # take for an up-to-date header.
  add_custom_command(
    OUTPUT "${header}"
    COMMAND plait::plait-config "${config}" --name "${arg_NAME}" > "${header}.new"
    COMMAND "${CMAKE_COMMAND}" -E rename "${header}.new" "${header}"
    DEPENDS plait::plait-config "$<TARGET_FILE:plait::plait-config>" "${config}"
    COMMENT "Writing the architecture of ${config}"
    VERBATIM)
  add_custom_target("${target}-architecture" DEPENDS "${header}")
  add_dependencies("${target}" "${target}-architecture")

  get_target_property(type "${target}" TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    set(scope INTERFACE)
  elseif(type STREQUAL "EXECUTABLE")
    set(scope PRIVATE)
  else()
    set(scope PUBLIC)
  endif()
  target_include_directories("${target}" ${scope} "${directory}")
endfunction()
