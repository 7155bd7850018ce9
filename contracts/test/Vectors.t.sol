// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {Thumbprint} from "../src/Thumbprint.sol";
import {Boards} from "./base/Boards.sol";
import {ReferenceTree} from "./base/ReferenceTree.sol";
import {vm} from "./base/Vm.sol";
import {Rfc9162Caller} from "./Rfc9162.t.sol";

/// @title What the outside world has published, reproduced by the contracts' code
contract VectorsTest {
    /// @notice RFC 9679 section 6: its example key and that key's thumbprint.
    function test_rfc9679Thumbprint() external pure {
        bytes32 kid = Thumbprint.kid(
            0x65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d,
            0x1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c
        );
        vm.assertEq(kid, 0x496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec, "thumbprint");
    }

    /// @notice RFC 6979 appendix A.2.5, P-256 with SHA-256. The signature of "sample" has a high s: as it is, it must be refused.
    function test_rfc6979Signatures() external view {
        bytes32 x = 0x60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6;
        bytes32 y = 0x7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299;

        bytes32 r = 0xefd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716;
        bytes32 s = 0xf7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8;
        vm.assertFalse(P256.verify(sha256("sample"), r, s, x, y), "sample, high s");
        vm.assertTrue(P256.verify(sha256("sample"), r, Boards.otherS(s), x, y), "sample, low s");
        vm.assertTrue(P256.verifySolidity(sha256("sample"), r, Boards.otherS(s), x, y), "sample, without precompile");
        vm.assertFalse(P256.verify(sha256("Sample"), r, Boards.otherS(s), x, y), "another message");

        r = 0xf1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367;
        s = 0x019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083;
        vm.assertTrue(P256.verify(sha256("test"), r, s, x, y), "test");
        vm.assertTrue(P256.verifySolidity(sha256("test"), r, s, x, y), "test, without precompile");
    }

    /// @notice The eight leaves of the Certificate Transparency project's tree tests (RFC 6962), their roots, and the proofs that
    /// its test programs carry.
    function test_rfc6962Tree() external {
        Rfc9162Caller lib = new Rfc9162Caller();
        bytes32[] memory leaves = new bytes32[](8);
        bytes[8] memory data = [
            bytes(""),
            hex"00",
            hex"10",
            hex"2021",
            hex"3031",
            hex"40414243",
            hex"5051525354555657",
            hex"606162636465666768696a6b6c6d6e6f"
        ];
        for (uint256 i = 0; i < 8; ++i) {
            leaves[i] = sha256(bytes.concat(hex"00", data[i]));
        }
        bytes32[8] memory roots = [
            bytes32(0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d),
            0xfac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125,
            0xaeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77,
            0xd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7,
            0x4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4,
            0x76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef,
            0xddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c,
            0x5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
        ];
        for (uint256 size = 1; size <= 8; ++size) {
            vm.assertEq(ReferenceTree.root(leaves, size), roots[size - 1], "root");
        }

        bytes32[] memory path = new bytes32[](3);
        path[0] = 0xbc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b;
        path[1] = 0xca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0;
        path[2] = roots[3];
        vm.assertTrue(lib.inclusion(leaves[5], 5, 8, roots[7], path), "leaf 5 of 8");

        path[0] = roots[0];
        path[1] = 0x5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e;
        path[2] = 0xbc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b;
        vm.assertTrue(lib.inclusion(leaves[1], 1, 5, roots[4], path), "leaf 1 of 5");

        path[0] = 0x0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a;
        path[1] = 0xca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0;
        path[2] = roots[3];
        vm.assertTrue(lib.consistency(6, roots[5], 8, roots[7], path), "6 to 8");

        path[0] = 0x96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7;
        path[1] = 0x5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e;
        path[2] = 0x6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4;
        vm.assertTrue(lib.inclusion(leaves[0], 0, 8, roots[7], path), "leaf 0 of 8");
        vm.assertTrue(lib.consistency(1, roots[0], 8, roots[7], path), "1 to 8");

        path = new bytes32[](2);
        path[0] = 0x5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e;
        path[1] = 0xbc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b;
        vm.assertTrue(lib.consistency(2, roots[1], 5, roots[4], path), "2 to 5");
    }
}
