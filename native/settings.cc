// The camera's controls, for JavaScript: a part of the class Capture. Each is a USB transfer that may
// take its time, so they run on the pixel thread.
#include "capture.h"

namespace camera {

Napi::Value Capture::device(const Info&, std::function<Error()> run,
                            std::function<Napi::Value(Napi::Env)> result) {
  if (state_ != State::streaming) return rejected(env_, gone("no camera is open"));
  auto deferred = Napi::Promise::Deferred::New(env_);
  auto error = std::make_shared<Error>();
  Napi::Env env = env_;
  post({[this, run, error] {
          *error = stream_.fd() == -1 ? gone("the camera was closed meanwhile") : run();
        },
        [env, deferred, error, result](bool) {
          if (*error) {
            deferred.Reject(toJs(env, *error));
          } else {
            deferred.Resolve(result(env));
          }
        },
        false});
  return deferred.Promise();
}

Napi::Value Capture::controls(const Info& info) {
  auto list = std::make_shared<std::vector<Control>>();
  return device(
      info,
      [this, list] {
        *list = listControls(stream_.fd());
        return Error{};
      },
      [list](Napi::Env env) -> Napi::Value {
        Napi::Array array = Napi::Array::New(env, list->size());
        for (uint32_t index = 0; index < list->size(); index++) {
          array.Set(index, toJs(env, (*list)[index]));
        }
        return array;
      });
}

Napi::Value Capture::getControl(const Info& info) {
  const std::string name = info[0].ToString();
  auto value = std::make_shared<int32_t>(0);
  return device(
      info,
      [this, name, value] {
        return camera::getControl(stream_.fd(), stream_.mode().path, name, value.get());
      },
      [value](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *value); });
}

Napi::Value Capture::setControl(const Info& info) {
  const std::string name = info[0].ToString();
  auto value = std::make_shared<int32_t>(info[1].ToNumber().Int32Value());
  return device(
      info,
      [this, name, value] {
        return camera::setControl(stream_.fd(), stream_.mode().path, name, value.get());
      },
      [value](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *value); });
}

}  // namespace camera
