#include "jpeg.h"

namespace pixels {

static const uint8_t startOfImage = 0xd8, endOfImage = 0xd9, startOfScan = 0xda, tem = 0x01;

// SOF0..SOF15 without DHT, JPG and DAC, which share the range.
static bool isFrame(uint8_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static Status readFrame(const uint8_t* body, size_t length, uint8_t marker, uint32_t* width,
                        uint32_t* height) {
  if (marker > 0xc2) return Status::unsupported;  // lossless, differential or arithmetic coding
  if (length < 6) return Status::corrupt;
  const unsigned components = body[5];
  if (body[0] != 8) return body[0] == 12 ? Status::unsupported : Status::corrupt;
  if (!components || length != 6 + 3 * components) return Status::corrupt;
  if (components != 1 && components != 3) return Status::unsupported;
  const uint32_t down = uint32_t{body[1]} << 8 | body[2];
  const uint32_t across = uint32_t{body[3]} << 8 | body[4];
  if (!across || !down) return Status::corrupt;
  *width = across;
  *height = down;
  return checkSize(across, down);
}

Status walkJpeg(const uint8_t* data, size_t length, uint32_t* width, uint32_t* height) {
  if (!data || length < 4 || data[0] != 0xff || data[1] != startOfImage) return Status::corrupt;
  uint32_t across = 0, down = 0;
  size_t at = 2;
  while (at + 1 < length) {
    if (data[at] != 0xff) return Status::corrupt;
    const uint8_t marker = data[at + 1];
    if (marker == 0xff) {  // filling
      at++;
      continue;
    }
    at += 2;
    if (marker == tem) continue;
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= endOfImage)) return Status::corrupt;
    if (length - at < 2) return Status::corrupt;
    const size_t size = size_t{data[at]} << 8 | data[at + 1];
    if (size < 2 || size > length - at) return Status::corrupt;
    if (isFrame(marker)) {
      if (across) return Status::corrupt;
      const Status frame = readFrame(data + at + 2, size - 2, marker, &across, &down);
      if (frame != Status::ok) return frame;
    } else if (marker == startOfScan) {
      if (!across) return Status::corrupt;
      *width = across;
      *height = down;
      return Status::ok;
    }
    at += size;
  }
  return Status::corrupt;
}

// Drivers pad behind the picture, mostly with zeros, so the end is looked for in the last bytes.
static bool hasEnd(const uint8_t* data, size_t length) {
  while (length && data[length - 1] == 0) length--;
  const size_t from = length > 4096 ? length - 4096 : 2;
  for (size_t i = length; i >= from + 2; i--) {
    if (data[i - 1] == endOfImage && data[i - 2] == 0xff) return true;
  }
  return false;
}

Status checkJpeg(const Picture& picture) {
  const Status size = checkSize(picture.width, picture.height);
  if (size != Status::ok) return size;
  uint32_t width = 0, height = 0;
  const Status walk = walkJpeg(picture.data, picture.length, &width, &height);
  if (walk != Status::ok) return walk;
  if (width != picture.width || height != picture.height) return Status::corrupt;
  return hasEnd(picture.data, picture.length) ? Status::ok : Status::corrupt;
}

Status probe(const uint8_t* data, size_t length, uint32_t* width, uint32_t* height) {
  return walkJpeg(data, length, width, height);
}

Status check(const Picture& picture) {
  return picture.fourcc == MJPG ? checkJpeg(picture) : checkRaw(picture);
}

}  // namespace pixels
