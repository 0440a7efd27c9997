# Two modules from the same objects: the real one, and one linked with the fake driver in place of
# the seam, for tests.
# `scripts/addon` builds both; with sanitize=1 (scripts/addon --asan) as well.
{
  "variables": {
    "sanitize%": 0,
    "pixels": ["<!@(ls pixels*.cc jpeg*.cc mask*.cc)"],
    "napi": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "napi_defines": [
      "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
      # A call that comes too late, while a worker's environment is torn down, ends quietly.
      "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      "NAPI_VERSION=9",
    ],
    "core": [
      "capture.cc", "choice.cc", "control.cc", "convert.cc", "device.cc", "error.cc", "frame.cc",
      "grabber.cc", "jobs.cc", "settings.cc", "slab.cc", "stream.cc", "worker.cc",
    ],
  },
  "target_defaults": {
    "cflags!": ["-O3", "-Wno-unused-parameter"],
    "cflags": [
      "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fstack-protector-strong",
      "-fno-exceptions", "-ffunction-sections", "-fdata-sections",
    ],
    "cflags_cc": ["-std=gnu++17", "-fvisibility-inlines-hidden"],
    "conditions": [
      ["sanitize==1", {
        "cflags": [
          "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
          "-fno-omit-frame-pointer",
        ],
        "ldflags": ["-fsanitize=address,undefined"],
      }, {
        "defines": ["_FORTIFY_SOURCE=2"],
        "ldflags": ["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--gc-sections"],
      }],
    ],
  },
  "targets": [
    {
      "target_name": "camera_pixels",
      "type": "static_library",
      "sources": ["<@(pixels)"],
      # A product and a sum are rounded each, so that a picture is the same numbers on every board:
      # arm64 has instructions that round once for both, and GCC takes them unless told not to.
      "cflags_cc": ["-ffp-contract=off"],
      # Not in cflags: "cflags!" above, which takes Node's -O3 out, would take this one too.
      "conditions": [["sanitize==0", { "cflags_cc": ["-O3"] }]],
    },
    {
      "target_name": "camera_core",
      "type": "static_library",
      "sources": ["<@(core)"],
      "include_dirs": ["<@(napi)"],
      "defines": ["<@(napi_defines)"],
      "conditions": [["sanitize==0", { "cflags": ["-O2"] }]],
    },
    {
      "target_name": "v4l2_camera",
      "sources": ["addon.cc", "xioctl.cc"],
      "dependencies": ["camera_core", "camera_pixels"],
      "include_dirs": ["<@(napi)"],
      "defines": ["<@(napi_defines)"],
      "libraries": ["-ljpeg"],
      "conditions": [["sanitize==0", { "cflags": ["-O2"] }]],
    },
    {
      "target_name": "v4l2_camera_fake",
      "sources": ["addon.cc", "fake.cc", "fake_control.cc", "fake_ioctl.cc", "puppet.cc", "reader.cc"],
      "dependencies": ["camera_core", "camera_pixels"],
      "include_dirs": ["<@(napi)"],
      "defines": ["<@(napi_defines)", "CAMERA_FAKE"],
      "libraries": ["-ljpeg"],
      "conditions": [["sanitize==0", { "cflags": ["-O2"] }]],
    },
  ],
}
