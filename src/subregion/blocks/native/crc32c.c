#include "decode.h"

#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <nmmintrin.h>
#define SR_HARDWARE __builtin_cpu_supports("sse4.2")

__attribute__((target("sse4.2"))) static uint32_t by_hardware(uint32_t crc, const uint8_t *data, size_t count)
{
    uint64_t value = crc;
    for (; count >= 8; data += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        value = _mm_crc32_u64(value, word);
    }
    crc = (uint32_t)value;
    for (; count; data++, count--)
        crc = _mm_crc32_u8(crc, *data);
    return crc;
}
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define SR_HARDWARE 1

static uint32_t by_hardware(uint32_t crc, const uint8_t *data, size_t count)
{
    for (; count >= 8; data += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = __crc32cd(crc, word);
    }
    for (; count; data++, count--)
        crc = __crc32cb(crc, *data);
    return crc;
}
#else
#define SR_HARDWARE 0
static uint32_t by_hardware(uint32_t crc, const uint8_t *data, size_t count)
{
    (void)data, (void)count;
    return crc;
}
#endif

/* Four bits at a time: small, and only where the processor has no instruction for it. */
static uint32_t by_table(uint32_t crc, const uint8_t *data, size_t count)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
        0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    for (; count; data++, count--) {
        crc ^= *data;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t sr_crc32c(const uint8_t *data, size_t count)
{
    const uint32_t begin = 0xFFFFFFFFu;
    return ~(SR_HARDWARE ? by_hardware(begin, data, count) : by_table(begin, data, count));
}
