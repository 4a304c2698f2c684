// SHA-256 over 64-byte blocks with the Armv8 SHA2 instructions (DDI 0487 C7.2, SHA256H and
// following; FIPS 180-4 6.2). All vector registers it writes are saved and restored: whose they
// are, the host's or a guest's, it need not know. FPCR and FPSR are neither read nor written.
.arch_extension fp
.arch_extension simd
.arch_extension sha2

// Four rounds with the words in \w0; then \w0 becomes the words sixteen rounds on.
.macro ward_sha256_rounds w0, w1, w2, w3
	ld1	{v16.4s}, [x3], #16
	add	v16.4s, v16.4s, \w0\().4s
	mov	v17.16b, v2.16b
	sha256h	q2, q3, v16.4s
	sha256h2 q3, q17, v16.4s
	sha256su0 \w0\().4s, \w1\().4s
	sha256su1 \w0\().4s, \w2\().4s, \w3\().4s
.endm

// ward_crypto_sha256_blocks(uint32_t state[8] in x0, const uint8_t *data in x1, size_t blocks in x2)
// x3: constants, x4: passes left of a block. v0, v1: state; v2, v3: working variables; v4 to v7: message.
.section .text.ward_crypto_sha256_blocks, "ax"
.global ward_crypto_sha256_blocks
.type ward_crypto_sha256_blocks, %function
ward_crypto_sha256_blocks:
	sub	sp, sp, #160
	stp	q0, q1, [sp]
	stp	q2, q3, [sp, #32]
	stp	q4, q5, [sp, #64]
	stp	q6, q7, [sp, #96]
	stp	q16, q17, [sp, #128]
	ld1	{v0.4s, v1.4s}, [x0]
	cbz	x2, 3f
1:
	ld1	{v4.16b, v5.16b, v6.16b, v7.16b}, [x1], #64
	rev32	v4.16b, v4.16b
	rev32	v5.16b, v5.16b
	rev32	v6.16b, v6.16b
	rev32	v7.16b, v7.16b
	mov	v2.16b, v0.16b
	mov	v3.16b, v1.16b
	adrp	x3, ward_sha256_k
	add	x3, x3, :lo12:ward_sha256_k
	// 64 rounds in four passes. The words the last pass computes are not used.
	mov	x4, #4
2:
	ward_sha256_rounds v4, v5, v6, v7
	ward_sha256_rounds v5, v6, v7, v4
	ward_sha256_rounds v6, v7, v4, v5
	ward_sha256_rounds v7, v4, v5, v6
	subs	x4, x4, #1
	b.ne	2b
	add	v0.4s, v0.4s, v2.4s
	add	v1.4s, v1.4s, v3.4s
	subs	x2, x2, #1
	b.ne	1b
	st1	{v0.4s, v1.4s}, [x0]
3:
	ldp	q0, q1, [sp]
	ldp	q2, q3, [sp, #32]
	ldp	q4, q5, [sp, #64]
	ldp	q6, q7, [sp, #96]
	ldp	q16, q17, [sp, #128]
	add	sp, sp, #160
	ret
.size ward_crypto_sha256_blocks, . - ward_crypto_sha256_blocks
.purgem ward_sha256_rounds

// FIPS 180-4 4.2.2.
.section .rodata.ward_sha256_k, "a"
.balign 16
ward_sha256_k:
	.word	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5
	.word	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174
	.word	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da
	.word	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967
	.word	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85
	.word	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070
	.word	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3
	.word	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
.size ward_sha256_k, . - ward_sha256_k
