// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode-rows.c - the instruction table holds together, and examples worked by hand
 *
 * Oracle of the first part: the rules that insns.def states of itself. Oracle of the second: the manual
 * sections named beside each case.
 */
#include "../../../emul/guest/x86/decode-table.h"
#include "../../../emul/guest/x86/disasm.h"
#include "tap.h"

/* Could one instruction satisfy both rows? Each group of X86_SEL_* must keep a way that neither row forbids.
 */
static bool overlap(const struct x86_sel *a, const struct x86_sel *b)
{
	static const u16 groups[] = {
		X86_SEL_NP | X86_SEL_66 | X86_SEL_F3 | X86_SEL_F2,
		X86_SEL_B0 | X86_SEL_B1,
		X86_SEL_W0 | X86_SEL_W1,
		X86_SEL_L0 | X86_SEL_L1,
		X86_SEL_64 | X86_SEL_NO64,
		X86_SEL_MEM | X86_SEL_REG,
	};
	unsigned int forbid = a->forbid | b->forbid, i;

	for (i = 0; i < ARRAY_SIZE(groups); i++)
		if ((forbid & groups[i]) == groups[i])
			return false;
	return !((a->value ^ b->value) & a->mask & b->mask);
}

static void test_table(void)
{
	unsigned int i, j, map, opcode, overlaps = 0, scattered = 0, uneven = 0, unreachable = 0, bad = 0;
	static u8 reached[0x10000];

	for (i = 1; i < x86_row_count; i++) {
		const struct x86_row *row = &x86_rows[i];

		for (j = i + 1; j < x86_row_count; j++) {
			if (x86_sels[i].key != x86_sels[j].key)
				continue;
			if (overlap(&x86_sels[i], &x86_sels[j])) {
				diag("rows %u and %u (%s, %s) overlap", i, j, x86_op_name(row->op),
				     x86_op_name(x86_rows[j].op));
				overlaps++;
			}
			if (x86_sels[j - 1].key != x86_sels[j].key)
				scattered++;
			if ((row->flags ^ x86_rows[j].flags) & X86_RF_MODRM)
				uneven++;
		}
		for (j = 0; j < ARRAY_SIZE(row->opnd); j++) {
			const struct x86_opnd *opnd = &row->opnd[j];

			/* Nothing behind the last operand, no operand from a ModRM byte without one */
			if (j && opnd->kind && !row->opnd[j - 1].kind)
				bad++;
			if (opnd->kind == X86_OK_M && !(row->flags & X86_RF_MEMONLY) &&
			    !(row->flags & X86_RF_MODRM))
				bad++;
			if ((opnd->kind == X86_OK_H || opnd->kind == X86_OK_B) && !(row->flags & X86_RF_VEX))
				bad++;
			if (opnd->kind == X86_OK_R && !(row->flags & X86_RF_REGONLY) &&
			    row->op != X86_OP_MOV_FROM_CR && row->op != X86_OP_MOV_TO_CR &&
			    row->op != X86_OP_MOV_FROM_DR && row->op != X86_OP_MOV_TO_DR)
				bad++;
		}
		if (row->flags & X86_RF_LOCK && !(row->opnd[0].access & X86_WR))
			bad++;
		if (row->op == X86_OP_INVALID || row->op >= X86_OP_COUNT ||
		    x86_op_class[row->op] == X86_CLASS_NONE)
			bad++;
	}
	for (map = 0; map < X86_TM_COUNT; map++)
		for (opcode = 0; opcode < 256; opcode++) {
			unsigned int row = x86_chains[map][opcode], key = x86_sels[row].key;

			for (; row && x86_sels[row].key == key; row--)
				reached[row] = 1;
		}
	for (i = 1; i < x86_row_count; i++)
		unreachable += !reached[i];

	diag("%u rows, %u operations", x86_row_count - 1, X86_OP_COUNT - 1);
	is_u64(overlaps, 0, "no two rows fit the same bytes");
	is_u64(scattered, 0, "the rows of an opcode stand together");
	is_u64(uneven, 0, "an opcode has ModRM in all its rows or in none");
	is_u64(unreachable, 0, "every row is in a chain");
	is_u64(bad, 0, "operands fit their rows");
}

static void test_ops(void)
{
	static u8 used[X86_OP_COUNT];
	unsigned int i, unused = 0;

	for (i = 1; i < x86_row_count; i++)
		used[x86_rows[i].op] = 1;
	for (i = 1; i < X86_OP_COUNT; i++)
		if (!used[i]) {
			diag("no row has operation %s", x86_op_name(i));
			unused++;
		}
	is_u64(unused, 0, "every operation has a row");
}

/* One worked example. Fields that are 0 in @want and not named are not compared. */
struct example {
	const char *name;
	const char *bytes;	/* hexadecimal */
	enum x86_mode mode;
	enum x86_decode_result result;
	enum x86_op op;
	u8 opsize, addrsize;
	bool mem;
	u8 base, index, scale, seg;
	s64 disp;
	u64 imm;
};

static const struct example examples[] = {
	/* SDM vol. 2 "REX Prefixes", AMD APM vol. 3 "REX Prefix" */
	{ "REX counts only as the last prefix", "4866 01c0", X86_MODE_64, X86_DECODE_OK, X86_OP_ADD,
	  .opsize = 2 },
	{ "REX.W beats 66", "6648 01c0", X86_MODE_64, X86_DECODE_OK, X86_OP_ADD, .opsize = 8 },
	{ "40 is INC outside 64-bit mode", "40", X86_MODE_32, X86_DECODE_OK, X86_OP_INC, .opsize = 4 },
	/* SDM vol. 2 "NOP", "PAUSE", "XCHG" */
	{ "90", "90", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_NOP },
	{ "F3 90", "f390", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_PAUSE },
	{ "REX.B 90 is XCHG R8", "4990", X86_MODE_64, X86_DECODE_OK, X86_OP_XCHG, .opsize = 8 },
	/* SDM vol. 2 "RIP-Relative Addressing" */
	{ "mod 0 rm 5 is RIP-relative", "8b0578563412", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 4, 8, true,
	  X86_REG_RIP, X86_REG_ZERO, .seg = X86_DS, .disp = 0x12345678 },
	{ "mod 0 rm 5 is absolute in 32-bit mode", "8b05785634f2", X86_MODE_32, X86_DECODE_OK, X86_OP_MOV, 4,
	  4, true, X86_REG_ZERO, X86_REG_ZERO, .seg = X86_DS, .disp = (s32)0xf2345678 },
	{ "SIB without base or index", "8b0425f0ffffff", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 4, 8, true,
	  X86_REG_ZERO, X86_REG_ZERO, .seg = X86_DS, .disp = -16 },
	/* SDM vol. 2 "Special Cases of REX Encodings" */
	{ "R12 as base needs SIB", "498b442410", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 8, 8, true, X86_R12,
	  X86_REG_ZERO, .seg = X86_DS, .disp = 16 },
	{ "R12 as index", "4a8b0420", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 8, 8, true, X86_RAX, X86_R12,
	  .seg = X86_DS },
	{ "SIB base 5 with mod 0 is no base in spite of REX.B", "498b042d00000000", X86_MODE_64,
	  X86_DECODE_OK, X86_OP_MOV, 8, 8, true, X86_REG_ZERO, X86_RBP, .seg = X86_DS },
	/* SDM vol. 2 "16-Bit Addressing Forms with the ModR/M Byte" */
	{ "[BP+DI-2] is in SS", "8b43fe", X86_MODE_16, X86_DECODE_OK, X86_OP_MOV, 2, 2, true, X86_RBP,
	  X86_RDI, .seg = X86_SS, .disp = -2 },
	{ "[disp16] is in DS", "8b06feca", X86_MODE_16, X86_DECODE_OK, X86_OP_MOV, 2, 2, true, X86_REG_ZERO,
	  X86_REG_ZERO, .seg = X86_DS, .disp = (s16)0xcafe },
	/* SDM vol. 1 "Segment Selectors in 64-bit mode": CS, DS, ES, SS overrides are null prefixes */
	{ "the last of FS and GS counts, CS does not", "64652e8b00", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV,
	  4, 8, true, X86_RAX, X86_REG_ZERO, .seg = X86_GS },
	{ "CS counts in 32-bit mode", "642e8b00", X86_MODE_32, X86_DECODE_OK, X86_OP_MOV, 4, 4, true, X86_RAX,
	  X86_REG_ZERO, .seg = X86_CS },
	/* SDM vol. 2 "MOV": moffs are as long as addresses */
	{ "moffs64", "48a1efcdab8967452301", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 8, 8, true, X86_REG_ZERO,
	  X86_REG_ZERO, .seg = X86_DS, .disp = 0x0123456789abcdef, .imm = 0x0123456789abcdef },
	{ "moffs32", "67a1efcdab89", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 4, 4, true, X86_REG_ZERO,
	  X86_REG_ZERO, .seg = X86_DS, .disp = 0x89abcdef, .imm = 0x89abcdef },
	/* SDM vol. 2: immediates */
	{ "MOV r64, imm64", "48b8efcdab8967452381", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 8,
	  .imm = 0x8123456789abcdef },
	{ "MOV r/m64, imm32 extends the sign", "48c7c000000080", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV, 8,
	  .imm = 0xffffffff80000000 },
	{ "group 83 extends the sign", "6683c0fe", X86_MODE_64, X86_DECODE_OK, X86_OP_ADD, 2, .imm = ~1ull },
	{ "PUSH imm8 extends the sign", "6afe", X86_MODE_32, X86_DECODE_OK, X86_OP_PUSH, 4, .imm = ~1ull },
	{ "IN AL, imm8 does not", "e4fe", X86_MODE_32, X86_DECODE_OK, X86_OP_IN, 1, .imm = 0xfe },
	{ "D1 shifts by one", "d1e0", X86_MODE_32, X86_DECODE_OK, X86_OP_SHL, 4, .imm = 1 },
	/* SDM vol. 2 "ENTER", "CALL" */
	{ "ENTER", "c8341205", X86_MODE_64, X86_DECODE_OK, X86_OP_ENTER, 8, .imm = 0x1234 },
	{ "CALL far", "9a78563412cdab", X86_MODE_32, X86_DECODE_OK, X86_OP_CALLF, 4, .imm = 0x12345678 },
	{ "near branches ignore 66 in 64-bit mode", "66e8fcffffff", X86_MODE_64, X86_DECODE_OK, X86_OP_CALL,
	  8, .imm = ~3ull },
	{ "near branches obey 66 in 32-bit mode", "66e8fcff", X86_MODE_32, X86_DECODE_OK, X86_OP_CALL, 2,
	  .imm = ~3ull },
	{ "PUSH is 8 or 2 bytes in 64-bit mode", "6650", X86_MODE_64, X86_DECODE_OK, X86_OP_PUSH,
	  .opsize = 2 },
	/* SDM vol. 2 "LOCK" */
	{ "LOCK ADD to memory", "f00100", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_ADD },
	{ "LOCK ADD to a register", "f001c0", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LOCK ADD from memory", "f00300", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LOCK CMP", "f03900", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LOCK BT", "f00fa300", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LOCK MOV CR0 for CR8 is not offered", "f00f20c0", X86_MODE_64, .result = X86_DECODE_INVALID },
	/* SDM vol. 2 "MOV - Move to/from Control Registers" */
	{ "MOV from CR0 ignores mod", "0f2000", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV_FROM_CR, .opsize = 8 },
	{ "MOV from CR0 in 16-bit mode is 4 bytes", "660f20c0", X86_MODE_16, X86_DECODE_OK,
	  X86_OP_MOV_FROM_CR, .opsize = 4 },
	{ "no CR1", "0f20c8", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "CR8", "440f20c0", X86_MODE_64, X86_DECODE_OK, X86_OP_MOV_FROM_CR, .opsize = 8 },
	{ "no MOV to CS", "8ec8", X86_MODE_32, .result = X86_DECODE_INVALID },
	/* SDM vol. 2 "Vector Extensions (VEX) Prefix" */
	{ "VPADDB", "c5f1fcc2", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_PADDB },
	{ "66 before VEX", "66c5f1fcc2", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "F3 before VEX", "f3c5f1fcc2", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LOCK before VEX", "f0c5f1fcc2", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "REX before VEX", "40c5f1fcc2", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "VMOVAPS with vvvv", "c5e828c1", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "LDS is no VEX", "c50500000000", X86_MODE_32, X86_DECODE_OK, X86_OP_LDS, 4, 4, true, X86_REG_ZERO,
	  X86_REG_ZERO, .seg = X86_DS },
	{ "C5 with mod 3 is VEX", "c5f1fcc2", X86_MODE_32, X86_DECODE_OK, .op = X86_OP_PADDB },
	{ "VEX map 0", "c4e078fcc2", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "ANDN with VEX.L", "c4e274f2c2", X86_MODE_64, .result = X86_DECODE_INVALID },
	/* SDM vol. 2 "EVEX": not offered */
	{ "62 in 64-bit mode", "62f17c4858c0", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "62 with mod 3", "62c0", X86_MODE_32, .result = X86_DECODE_INVALID },
	{ "62 with memory is BOUND", "6200", X86_MODE_32, X86_DECODE_OK, X86_OP_BOUND, 4, 4, true, X86_RAX,
	  X86_REG_ZERO, .seg = X86_DS },
	/* SDM vol. 2 "VPGATHERDD": index, mask and destination differ, and there is a SIB byte */
	{ "VPGATHERDD", "c4e269900c20", X86_MODE_64, X86_DECODE_OK, X86_OP_VPGATHERDD, 0, 8, true, X86_RAX,
	  X86_RSP, .seg = X86_DS },
	{ "VPGATHERDD with mask = index", "c4e259900c20", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "VPGATHERDD without SIB", "c4e2699008", X86_MODE_64, .result = X86_DECODE_INVALID },
	/* SDM vol. 2 "CRC32", "MOVBE", "ADCX", "ADOX": prefixes that select and prefixes that size */
	{ "CRC32 r32, r/m16", "66f20f38f100", X86_MODE_64, X86_DECODE_OK, X86_OP_CRC32, 2, 8, true, X86_RAX,
	  X86_REG_ZERO, .seg = X86_DS },
	{ "MOVBE r16", "660f38f000", X86_MODE_64, X86_DECODE_OK, X86_OP_MOVBE, 2, 8, true, X86_RAX,
	  X86_REG_ZERO, .seg = X86_DS },
	{ "ADCX is 32 bits", "660f38f6c1", X86_MODE_64, X86_DECODE_OK, X86_OP_ADCX, .opsize = 4 },
	{ "F3 wins over 66: ADOX", "66f30f38f6c1", X86_MODE_64, X86_DECODE_OK, X86_OP_ADOX, .opsize = 4 },
	{ "the last of F2 and F3 wins", "f3f20f58c1", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_ADDSD },
	{ "TZCNT", "f30fbcc1", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_TZCNT },
	{ "F2 BSF is BSF", "f20fbcc1", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_BSF },
	{ "ENDBR64 is a NOP", "f30f1efa", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_NOP },
	/* Encodings that the opcode maps leave out, AMD APM vol. 3 "Opcode Maps", group notes */
	{ "F6 /1 is TEST", "f6c801", X86_MODE_64, X86_DECODE_OK, X86_OP_TEST, 1, .imm = 1 },
	{ "D0 /6 is SHL", "d0f0", X86_MODE_64, X86_DECODE_OK, X86_OP_SHL, 1, .imm = 1 },
	{ "82 is 80", "82c0ff", X86_MODE_32, X86_DECODE_OK, X86_OP_ADD, 1, .imm = 0xff },
	{ "82 in 64-bit mode", "82c0ff", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "SALC", "d6", X86_MODE_32, X86_DECODE_OK, .op = X86_OP_SALC },
	{ "INT1", "f1", X86_MODE_64, X86_DECODE_OK, .op = X86_OP_INT1 },
	{ "3DNow!", "0f0fc1b4", X86_MODE_64, .result = X86_DECODE_INVALID },
	{ "PREFETCHW", "0f0d08", X86_MODE_64, X86_DECODE_OK, X86_OP_PREFETCH, 4, 8, true, X86_RAX,
	  X86_REG_ZERO, .seg = X86_DS },
	{ "XOP", "8fe878c1c000", X86_MODE_64, .result = X86_DECODE_INVALID },
};

static unsigned int parse_hex(const char *text, u8 *bytes)
{
	unsigned int n = 0, value;
	int used;

	for (; *text; text += used) {
		used = 1;
		if (*text != ' ' && sscanf(text, "%2x%n", &value, &used) == 1)
			bytes[n++] = value;
	}
	return n;
}

static void test_examples(void)
{
	enum x86_decode_result result;
	struct x86_insn insn;
	unsigned int i, n;
	u8 bytes[32];

	for (i = 0; i < ARRAY_SIZE(examples); i++) {
		const struct example *e = &examples[i];
		bool good;

		n = parse_hex(e->bytes, bytes);
		result = x86_decode(&insn, bytes, n, e->mode);
		good = result == e->result && insn.op == e->op;
		if (result == X86_DECODE_OK)
			good = good && insn.len == n && (!e->opsize || insn.opsize == e->opsize) &&
			       (!e->addrsize || insn.addrsize == e->addrsize) &&
			       (!e->imm || insn.imm == e->imm);
		if (e->mem)
			good = good && insn.flags & X86_IF_MEM && insn.base == e->base &&
			       insn.index == e->index && insn.scale == e->scale && insn.seg == e->seg &&
			       insn.disp == e->disp;
		if (!ok(good, "%s: %s", e->bytes, e->name))
			diag("result %u op %s len %u opsize %u addrsize %u flags %#x base %u index %u seg %u "
			     "disp %#llx imm %#llx",
			     result, x86_op_name(insn.op), insn.len, insn.opsize, insn.addrsize, insn.flags,
			     insn.base, insn.index, insn.seg, (unsigned long long)insn.disp,
			     (unsigned long long)insn.imm);
	}
	x86_decode(&insn, (const u8 *)"\xc8\x34\x12\x05", 4, X86_MODE_64);
	is_u64(insn.imm2, 5, "ENTER's level is the second immediate");
	x86_decode(&insn, (const u8 *)"\x9a\x78\x56\x34\x12\xcd\xab", 7, X86_MODE_32);
	is_u64(insn.imm2, 0xabcd, "a far pointer's selector is the second immediate");
}

/* Text of the disassembler; oracle: the manuals' own notation. */
static void test_disasm(void)
{
	static const struct {
		const char *bytes;
		enum x86_mode mode;
		const char *text;
	} texts[] = {
		{ "c5f1fcc2", X86_MODE_64, "vpaddb xmm0, xmm1, xmm2" },
		{ "f048 0fb14c2408", X86_MODE_64, "lock cmpxchg qword ptr [rsp+0x8], rcx" },
		{ "f3a4", X86_MODE_64, "rep movs byte ptr es:[rdi], byte ptr ds:[rsi]" },
		{ "f2ae", X86_MODE_32, "repne scas al, byte ptr es:[edi]" },
		{ "c4e269900c20", X86_MODE_64, "vpgatherdd xmm1, dword ptr [rax+xmm4], xmm2" },
		{ "8b0578563412", X86_MODE_64, "mov eax, dword ptr [0x1234567e]" },
		{ "648b4bfe", X86_MODE_16, "mov cx, word ptr fs:[bp+di-0x2]" },
		{ "660f38 10c1", X86_MODE_64, "pblendvb xmm0, xmm1, xmm0" },
		{ "74fe", X86_MODE_64, "je 0" },
		{ "e9feff", X86_MODE_16, "jmp 0x1" },
		{ "83c0ff", X86_MODE_64, "add eax, -0x1" },
		{ "c8100001", X86_MODE_64, "enter 0x10, 0x1" },
		{ "9a78563412cdab", X86_MODE_32, "call far 0xabcd:0x12345678" },
		{ "dcc1", X86_MODE_32, "fadd st(1), st" },
		{ "4080c4ff", X86_MODE_64, "add spl, 0xff" },
		{ "80c4ff", X86_MODE_64, "add ah, 0xff" },
		{ "660ff7c1", X86_MODE_64, "maskmovdqu xmm0, xmm1" },
		{ "0f22d8", X86_MODE_64, "mov cr3, rax" },
	};
	char text[X86_DISASM_MAX], shorter[4];
	u64 seed = tap_seed(0xd15a5);
	struct x86_insn insn;
	unsigned int i, j, n, longest = 0;
	u8 bytes[32];

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		n = parse_hex(texts[i].bytes, bytes);
		x86_decode(&insn, bytes, n, texts[i].mode);
		x86_disasm(text, sizeof(text), &insn, insn.len);
		if (!ok(!strcmp(text, texts[i].text), "%s: %s", texts[i].bytes, texts[i].text))
			diag("got %s", text);
	}
	for (i = 0; i < 300000; i++) {
		for (j = 0; j < X86_INSN_MAX; j++)
			bytes[j] = tap_random(&seed) >> 24;
		if (i & 1)
			bytes[0] = 0xc4;
		x86_decode(&insn, bytes, X86_INSN_MAX, i % X86_MODE_COUNT);
		n = x86_disasm(text, sizeof(text), &insn, ~0ull);
		longest = max(longest, n);
	}
	ok(longest < X86_DISASM_MAX, "no text is longer than X86_DISASM_MAX (%u)", longest);
	n = x86_disasm(shorter, sizeof(shorter), &insn, 0);
	ok(n >= sizeof(shorter) && strlen(shorter) == 3, "text is cut off where the buffer ends");
}

int main(void)
{
	test_table();
	test_ops();
	test_examples();
	test_disasm();
	return tap_done();
}
