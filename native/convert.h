// Between JavaScript's values and the structs. v4l2.ts has checked what comes in; what is still
// wrong here becomes a misuse error, never undefined behaviour.
#pragma once
#include <napi.h>

#include "control.h"
#include "device.h"
#include "pixels.h"
#include "stream.h"

namespace camera {

Napi::Value toJs(Napi::Env env, const Error& error);
Napi::Value toJs(Napi::Env env, const Device& device);
Napi::Value toJs(Napi::Env env, const Control& control);
Napi::Value toJs(Napi::Env env, const Mode& mode);

Error gone(const char* message);
Napi::Value rejected(Napi::Env env, const Error& error);

// A slot's number, 0 for what is none; and the picture in a slot.
Slab::Handle handleOf(const Napi::Value& value);
pixels::Picture pictureOf(const Slab::View& view);

// The error behind a status of the pixel functions; none for ok.
Error pixelError(pixels::Status status, const char* what, const pixels::Scratch& scratch);

// A property as a number, or `otherwise` when it is missing or no number.
double number(const Napi::Value& object, const char* name, double otherwise);
uint32_t whole(const Napi::Value& object, const char* name, uint32_t otherwise);
std::string string(const Napi::Value& object, const char* name);

// Four letters; 0 for an empty or wrong text.
uint32_t fourccOf(const std::string& name);

// [[x, y, x, y, …], …]; false when it is something else.
bool polygonsOf(const Napi::Value& value, pixels::Polygons* out);

}  // namespace camera
