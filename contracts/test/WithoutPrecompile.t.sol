// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistryPermitTest} from "./DeviceRegistryPermit.t.sol";
import {VerifyStatementTest} from "./VerifyStatement.t.sol";
import {vm} from "./base/Vm.sol";

/// @dev Length of what the P-256 precompile answers to a good signature: 32, or 0 where there is none.
/// The signature is of RFC 6979 appendix A.2.5, "test".
function precompileAnswer() view returns (uint256) {
    (bool done, bytes memory answer) = address(0x100)
        .staticcall(
            abi.encode(
                sha256("test"),
                bytes32(0xf1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367),
                bytes32(0x019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083),
                bytes32(0x60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6),
                bytes32(0x7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299)
            )
        );
    return done ? answer.length : type(uint256).max;
}

/// @notice All other tests run where the precompile is.
contract WithPrecompileTest {
    function test_thePrecompileIsThere() external view {
        vm.assertEq(precompileAnswer(), 32, "precompile");
    }
}

/// @notice The registry's permits on a chain from before EIP-7951: the same answers, computed in Solidity.
/// forge-config: default.hardfork = "cancun"
/// forge-config: default.fuzz.runs = 16
/// forge-config: soak.fuzz.runs = 5000
contract PermitWithoutPrecompileTest is DeviceRegistryPermitTest {
    function test_thePrecompileIsMissing() external view {
        vm.assertEq(precompileAnswer(), 0, "precompile");
    }
}

/// @notice Statements on a chain from before EIP-7951: the same answers, computed in Solidity.
/// forge-config: default.hardfork = "cancun"
/// forge-config: default.fuzz.runs = 16
/// forge-config: soak.fuzz.runs = 5000
contract StatementWithoutPrecompileTest is VerifyStatementTest {
    function test_thePrecompileIsMissing() external view {
        vm.assertEq(precompileAnswer(), 0, "precompile");
    }
}
