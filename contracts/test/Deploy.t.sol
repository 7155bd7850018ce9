// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deploy} from "../script/Deploy.s.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {TransparencyLog} from "../src/TransparencyLog.sol";
import {vm} from "./base/Vm.sol";

contract DeployTest {
    function test_theLogAsksTheRegistry() external {
        (DeviceRegistry registry, TransparencyLog log) = new Deploy().run();
        vm.assertEq(address(log.registry()), address(registry), "registry");
    }

    /// @notice EIP-170's limit on a contract's code.
    function test_bothFitOnAnyChain() external {
        (DeviceRegistry registry, TransparencyLog log) = new Deploy().run();
        vm.assertLt(address(registry).code.length, 24_577, "registry");
        vm.assertLt(address(log).code.length, 24_577, "log");
    }
}
