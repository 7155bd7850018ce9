// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {TransparencyLog} from "../src/TransparencyLog.sol";

/// @dev The cheat codes that a script needs.
interface ScriptVm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// @title Puts the two contracts on a chain, for those who work with Foundry
/// @notice `forge script script/Deploy.s.sol --rpc-url URL --broadcast` and one of Forge's options for a key, such as `--account`.
/// `trigpoint chain deploy` does the same from the exported artifacts and needs neither Forge nor a compiler.
contract Deploy {
    /// @dev Where Forge listens: the last 20 bytes of keccak256("hevm cheat code").
    ScriptVm private constant vm = ScriptVm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    function run() external returns (DeviceRegistry registry, TransparencyLog log) {
        vm.startBroadcast();
        registry = new DeviceRegistry();
        log = new TransparencyLog(registry);
        vm.stopBroadcast();
    }
}
