// The strings of the fake driver, for tests in JavaScript.
#pragma once
#include <napi.h>

namespace camera {

Napi::Object puppet(Napi::Env env);

}  // namespace camera
