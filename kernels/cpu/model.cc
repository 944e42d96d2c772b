// Entry points of sl_model.
#include "cpu/model.h"

#include "cpu/api.h"

using namespace scalellm;

extern "C" int32_t sl_model_load(const sl_model_desc* desc, sl_model** out) {
  return guarded([&] {
    require(desc != nullptr && out != nullptr, "desc, out: null");
    *out = load_model(*desc).release();
    return SL_OK;
  });
}

extern "C" int32_t sl_model_get_info(const sl_model* model, sl_model_info* out) {
  return guarded([&] {
    require(model != nullptr && out != nullptr, "model, out: null");
    *out = model->info;
    return SL_OK;
  });
}

extern "C" void sl_model_free(sl_model* model) {
  delete model;
}
