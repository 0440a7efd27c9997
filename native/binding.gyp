# Two modules from the same sources: the real one, and one over the fake driver for tests.
# `scripts/addon` builds both; with sanitize=1 (scripts/addon --asan) as well.
{
  "variables": {
    "sanitize%": 0,
    "pixels": ["<!@(ls pixels*.cc jpeg*.cc mask*.cc)"],
    "sources": [
      "addon.cc", "capture.cc", "choice.cc", "control.cc", "convert.cc", "device.cc", "error.cc",
      "frame.cc", "jobs.cc", "settings.cc", "slab.cc", "stream.cc", "worker.cc",
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
          "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
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
      "conditions": [["sanitize==0", { "cflags": ["-O3"] }]],
    },
    {
      "target_name": "v4l2_camera",
      "sources": ["<@(sources)", "xioctl.cc"],
      "dependencies": ["camera_pixels"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NAPI_VERSION=9"],
      "libraries": ["-ljpeg"],
      "conditions": [["sanitize==0", { "cflags": ["-O2"] }]],
    },
    {
      "target_name": "v4l2_camera_fake",
      "sources": ["<@(sources)", "fake.cc", "fake_control.cc", "fake_ioctl.cc", "puppet.cc"],
      "dependencies": ["camera_pixels"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NAPI_VERSION=9", "CAMERA_FAKE"],
      "libraries": ["-ljpeg"],
      "conditions": [["sanitize==0", { "cflags": ["-O2"] }]],
    },
  ],
}
